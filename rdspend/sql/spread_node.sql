-- Node and pool lines over the hours in which their node records were up, weighted by capacity in a pool.
-- In: spread_line, span. Out: spread_node (line x node record x hour); amounts of a line add up to the line: each takes the
-- difference of two cut running totals, in order of hour, cluster, node.
CREATE OR REPLACE TEMP TABLE spread_node AS
WITH held AS (
    SELECT l.l, l.k, l.class, l.effective, l.billed, p.n, greatest(l.s, p.s) AS s, least(l.e, p.e) AS e,
        CASE WHEN l.class = 3 THEN p.pool_weight ELSE 1 END AS weight
    FROM spread_line AS l
    JOIN span AS p ON (l.class = 2 AND p.resource_id = l.resource_id) OR (l.class = 3 AND p.pool = l.resource_id)
    WHERE greatest(l.s, p.s) < least(l.e, p.e)
),
hourly AS (
    SELECT *, unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS h FROM held
),
weighed AS (
    SELECT l, k, effective, billed, n, h,
        CAST(weight AS HUGEINT) * (least(e, (h + 1) * 3600) - greatest(s, h * 3600)) AS w
    FROM hourly
    WHERE weight > 0
),
running AS (
    SELECT *,
        sum(w) OVER (PARTITION BY l ORDER BY h, n ROWS UNBOUNDED PRECEDING) AS upto,
        sum(w) OVER (PARTITION BY l) AS whole
    FROM weighed
)
SELECT l, k, n, CAST(h AS INTEGER) AS h,
    CAST(effective * CAST(upto AS HUGEINT) // whole - effective * CAST(upto - w AS HUGEINT) // whole AS BIGINT) AS effective,
    CAST(billed * CAST(upto AS HUGEINT) // whole - billed * CAST(upto - w AS HUGEINT) // whole AS BIGINT) AS billed
FROM running
WHERE whole > 0
