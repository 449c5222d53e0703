-- Which rate holds for a node record, and from which hour to which. In: span, rates. Out: rate_span (node record x span of hours, without holes).
-- The narrowest selector wins: node, queue, instance type, GPU type. A rate holds for an hour when it is valid at its first second.
-- prices = how many rates are equally narrow; null rate = no price.
CREATE OR REPLACE TEMP TABLE rate_span AS
WITH matching AS (
    SELECT p.n, r.source, r.origin_row,
        CASE WHEN r.node IS NOT NULL THEN 4 WHEN r.queue IS NOT NULL THEN 3 WHEN r.instance_type IS NOT NULL THEN 2 ELSE 1 END
            + CASE WHEN r.cluster IS NOT NULL THEN 10 ELSE 0 END AS narrow,
        COALESCE(epoch_us(r.start_time) // 1000000, $earliest) AS s,
        COALESCE(epoch_us(r.end_time) // 1000000, $latest) AS e
    FROM span AS p JOIN rates AS r
        ON (r.cluster IS NULL OR r.cluster = p.cluster)
        AND (r.node IS NULL OR r.node = p.node)
        AND (r.queue IS NULL OR list_contains(string_split(COALESCE(p.queue, ''), ','), r.queue))
        AND (r.instance_type IS NULL OR r.instance_type = p.instance_type)
        AND (r.gpu_type IS NULL OR lower(r.gpu_type) = lower(p.gpu_type))
),
hourly AS (
    -- Up to the next full hour; `//` already does that below zero.
    SELECT n, source, origin_row, narrow,
        s // 3600 + CASE WHEN s > 0 AND s % 3600 <> 0 THEN 1 ELSE 0 END AS first_h,
        e // 3600 + CASE WHEN e > 0 AND e % 3600 <> 0 THEN 1 ELSE 0 END AS last_h
    FROM matching
),
edge AS (
    SELECT n, $earliest // 3600 AS h FROM span
    UNION SELECT n, first_h FROM hourly
    UNION SELECT n, last_h FROM hourly
),
piece AS (
    SELECT n, h AS first_h, lead(h, 1, $latest) OVER (PARTITION BY n ORDER BY h) AS last_h FROM edge
),
priced AS (
    SELECT p.n, p.first_h, p.last_h, m.source, m.origin_row, m.narrow,
        max(m.narrow) OVER (PARTITION BY p.n, p.first_h) AS narrowest
    FROM piece AS p LEFT JOIN hourly AS m ON m.n = p.n AND m.first_h <= p.first_h AND p.first_h < m.last_h
)
SELECT n, first_h, any_value(last_h) AS last_h, any_value(source) AS source,
    min(origin_row) AS rate, max(origin_row) AS other_rate, count(source) AS prices
FROM priced WHERE narrow IS NOT DISTINCT FROM narrowest
GROUP BY n, first_h
