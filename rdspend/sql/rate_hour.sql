-- The price of every hour a node was up and no bill pays for it. In: span, rates, paid_hour. Out: rate_hour (node record x hour).
-- The narrowest selector wins: node, queue, instance type, GPU type. prices = how many rates are equally narrow; null rate = no price.
CREATE OR REPLACE TEMP TABLE rate_hour AS
WITH up AS (
    SELECT n, h, greatest(s, h * 3600) AS s, least(e, (h + 1) * 3600) AS e FROM (
        SELECT n, s, e, CAST(unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS BIGINT) AS h
        FROM (SELECT n, greatest(s, $first) AS s, least(e, $last, $now) AS e FROM span)
        WHERE s < e
    ) AS hourly
    ANTI JOIN paid_hour ON paid_hour.n = hourly.n AND paid_hour.h = hourly.h
),
matching AS (
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
priced AS (
    SELECT up.n, up.h, up.s, up.e, m.source, m.origin_row, m.narrow,
        max(m.narrow) OVER (PARTITION BY up.n, up.h) AS narrowest
    FROM up LEFT JOIN matching AS m ON m.n = up.n AND m.s <= up.h * 3600 AND up.h * 3600 < m.e
)
SELECT n, CAST(h AS INTEGER) AS h, any_value(s) AS s, any_value(e) AS e, any_value(source) AS source,
    min(origin_row) AS rate, max(origin_row) AS other_rate, count(source) AS prices
FROM priced WHERE narrow IS NOT DISTINCT FROM narrowest
GROUP BY n, h
