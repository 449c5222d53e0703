-- Estimated charges over the hours of their span. In: charges (estimated ones), line_key, span. Out: spread_estimate (charge x hour), estimate_line.
CREATE OR REPLACE TEMP TABLE spread_estimate AS
WITH line AS (
    SELECT e.l, e.k, p.n, e.cost, unnest(range(e.s // 3600, (e.e - 1) // 3600 + 1)) AS h, e.s, e.e
    FROM estimate_line AS e JOIN span AS p ON p.cluster || '/' || p.node = e.resource_name AND p.s <= e.s AND e.e <= p.e
),
weighed AS (
    SELECT l, k, n, h, cost, CAST(least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS HUGEINT) AS w FROM line
),
running AS (
    SELECT *, CAST(sum(w) OVER (PARTITION BY l ORDER BY h ROWS UNBOUNDED PRECEDING) AS HUGEINT) AS upto,
        CAST(sum(w) OVER (PARTITION BY l) AS HUGEINT) AS whole
    FROM weighed
)
SELECT l, k, n, h, CAST(cost * upto // whole - cost * (upto - w) // whole AS BIGINT) AS effective,
    CAST(cost * upto // whole - cost * (upto - w) // whole AS BIGINT) AS billed
FROM running
