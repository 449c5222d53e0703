-- Placements on nodes that are known, but not for all of that time. In: placements, span.
SELECT t.cluster, t.node, count(*) AS placements
FROM placements AS t
SEMI JOIN span AS q ON q.cluster = t.cluster AND q.node = t.node
ANTI JOIN span AS p ON p.cluster = t.cluster AND p.node = t.node
    AND p.s <= epoch_us(t.start_time) // 1000000 AND COALESCE(epoch_us(t.end_time) // 1000000, $now) <= p.e
WHERE epoch_us(t.start_time) // 1000000 < $last AND COALESCE(epoch_us(t.end_time) // 1000000, $now) > $first
GROUP BY t.cluster, t.node ORDER BY t.cluster, t.node
