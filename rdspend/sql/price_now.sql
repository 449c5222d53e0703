-- The price of an hour of each node record that is up now, where exactly one rate is the narrowest. In: span, rate_span, rates.
-- Out: price_now (node record). node_price: null where an hour hangs on what jobs hold, at gpu_price each. currency: null, no price.
CREATE OR REPLACE TEMP TABLE price_now AS
SELECT p.n, p.cluster, p.gpu_parts, t.currency,
    CASE
        WHEN t.price_per_node_hour_nanos IS NOT NULL THEN t.price_per_node_hour_nanos
        WHEN p.gpu_parts IS NOT NULL THEN CAST(CAST(t.price_per_gpu_hour_nanos AS HUGEINT) * p.gpu_parts // {gpu_parts} AS BIGINT)
    END AS node_price,
    t.price_per_gpu_hour_nanos AS gpu_price
FROM (SELECT * FROM span WHERE s < $last AND e > $first) AS p
LEFT JOIN rate_span AS r ON r.n = p.n AND r.prices = 1 AND r.first_h <= $first // 3600 AND $first // 3600 < r.last_h
LEFT JOIN rates AS t ON t.source = r.source AND t.origin_row = r.rate
