-- Estimated charges of priced hours: one a run of hours of a day at one price; one an hour where a GPU has a price and the node's GPUs
-- are not known (GPU time held x price).
-- In: rate_hour, rates, span, share_piece. Out: estimate (charge), with n, the node record it is for.
CREATE OR REPLACE TEMP TABLE estimate AS
WITH known AS (
    SELECT n, source, rate, min(s) AS s, max(e) AS e, sum(e - s) AS seconds FROM (
        SELECT r.n, r.source, r.rate, r.s, r.e, r.h, h - row_number() OVER (PARTITION BY n, r.source, rate, h // 24 ORDER BY h) AS island
        FROM rate_hour AS r JOIN span AS p USING (n) JOIN rates AS t ON t.source = r.source AND t.origin_row = r.rate
        WHERE p.gpu_parts IS NOT NULL OR t.price_per_node_hour_nanos IS NOT NULL
    ) GROUP BY n, source, rate, h // 24, island
),
held AS (
    SELECT r.n, r.source, r.rate, r.s, r.e,
        sum(CAST(p.gpu_parts AS HUGEINT) * (least(p.e, r.e) - greatest(p.s, r.s))) AS part_seconds
    FROM rate_hour AS r
    JOIN (SELECT n FROM span WHERE gpu_parts IS NULL) AS u USING (n)
    JOIN rates AS t ON t.source = r.source AND t.origin_row = r.rate AND t.price_per_gpu_hour_nanos IS NOT NULL
    JOIN (SELECT n, s, e, gpu_parts, CAST(unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS INTEGER) AS h FROM share_piece WHERE unknown) AS p
        ON p.n = r.n AND p.h = r.h AND p.s < r.e AND p.e > r.s
    GROUP BY r.n, r.source, r.rate, r.s, r.e
),
costed AS (
    SELECT x.n, x.source, x.rate, x.s, x.e,
        CAST(CASE
            WHEN t.price_per_node_hour_nanos IS NOT NULL THEN CAST(t.price_per_node_hour_nanos AS HUGEINT) * x.seconds // 3600
            ELSE CAST(t.price_per_gpu_hour_nanos AS HUGEINT) * x.gpu_part_seconds // (3600 * {gpu_parts})
        END AS BIGINT) AS cost, t.currency, t.origin_file
    FROM (
        SELECT known.n, known.source, rate, known.s, known.e, seconds, CAST(p.gpu_parts AS HUGEINT) * seconds AS gpu_part_seconds
        FROM known JOIN span AS p USING (n)
        UNION ALL
        SELECT n, source, rate, s, e, e - s, part_seconds FROM held
    ) AS x JOIN rates AS t ON t.source = x.source AND t.origin_row = x.rate
)
SELECT c.n, c.s, c.e, c.source,
    strftime(make_timestamp(CAST(c.s AS BIGINT) * 1000000), '%Y-%m') AS billing_period,
    c.origin_file, c.rate AS origin_row, c.cost, c.currency, p.cluster, p.node, COALESCE(p.resource_id, p.cluster || '/' || p.node) AS resource_id,
    p.gpu_type, p.instance_type
FROM costed AS c JOIN span AS p USING (n)
