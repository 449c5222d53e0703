-- Placements on nodes that no record names. In: placements, span.
SELECT t.cluster, t.node, count(*) AS placements
FROM placements AS t ANTI JOIN span AS p ON p.cluster = t.cluster AND p.node = t.node
WHERE epoch_us(t.start_time) // 1000000 < $last AND COALESCE(epoch_us(t.end_time) // 1000000, $now) > $first
GROUP BY t.cluster, t.node ORDER BY t.cluster, t.node
