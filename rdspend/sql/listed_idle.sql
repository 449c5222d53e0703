-- Idle money by cluster and day, dearest first. In: attributions.
SELECT cluster || ' ' || day AS label, sum(effective_cost_nanos) AS cost,
    'node money of ' || string_agg(DISTINCT source, ', ' ORDER BY source) || ' that no job took' AS detail,
    count(*) OVER () AS parts, sum(sum(effective_cost_nanos)) OVER () AS total
FROM attributions WHERE bucket = $bucket AND billing_currency = $currency
GROUP BY cluster, day
ORDER BY cost DESC, label
LIMIT $limit
