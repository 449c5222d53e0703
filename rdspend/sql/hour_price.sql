-- What a whole hour of a node record costs by its rate, over the whole hours in which both hold. In: rate_span, rates, span.
-- Out: hour_price (node record x span, in hours). price: of one GPU, where the hour hangs on what jobs held; else estimate, in nanos.
-- kind: a number for GPU type and currency.
CREATE OR REPLACE TEMP TABLE hour_price AS
WITH priced AS (
    SELECT r.n, p.gpu_type, t.currency, r.prices, (greatest(r.first_h * 3600, p.s, $first) + 3599) // 3600 AS first_h,
        least(r.last_h * 3600, p.e, $last, $now) // 3600 AS last_h,
        CASE
            WHEN t.price_per_node_hour_nanos IS NOT NULL THEN t.price_per_node_hour_nanos
            WHEN p.gpu_parts IS NOT NULL THEN CAST(CAST(t.price_per_gpu_hour_nanos AS HUGEINT) * p.gpu_parts // {gpu_parts} AS BIGINT)
        END AS estimate,
        t.price_per_gpu_hour_nanos AS price
    FROM rate_span AS r JOIN span AS p USING (n) JOIN rates AS t ON t.source = r.source AND t.origin_row = r.rate
)
SELECT *, CAST(dense_rank() OVER (ORDER BY gpu_type, currency) AS INTEGER) AS kind FROM priced WHERE first_h < last_h
