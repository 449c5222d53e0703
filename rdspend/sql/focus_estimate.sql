-- Lines of a rate card over the hours of their span. In: focus_line, span. Out: focus_estimate (line x hour), l below 0. Differences of
-- cut running totals, as when they were estimated.
CREATE OR REPLACE TEMP TABLE focus_estimate AS
WITH line AS (
    SELECT -row_number() OVER (ORDER BY f, r, part) AS l, f, r, part, k, resource_name, effective_cost_nanos AS cost,
        us // 1000000 AS s, last_us // 1000000 AS e
    FROM focus_line WHERE estimate
),
weighed AS (
    SELECT l, f, r, part, k, n, h, cost, CAST(least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS HUGEINT) AS w
    FROM (
        SELECT line.*, p.n, unnest(range(line.s // 3600, (line.e - 1) // 3600 + 1)) AS h
        FROM line JOIN span AS p ON p.cluster || '/' || p.node = line.resource_name AND p.s <= line.s AND line.e <= p.e
    )
),
running AS (
    SELECT *, CAST(sum(w) OVER (PARTITION BY l ORDER BY h ROWS UNBOUNDED PRECEDING) AS HUGEINT) AS upto,
        CAST(sum(w) OVER (PARTITION BY l) AS HUGEINT) AS whole
    FROM weighed
)
SELECT l, f, r, part, k, n, CAST(h AS BIGINT) AS h, CAST(cost * upto // whole - cost * (upto - w) // whole AS BIGINT) AS effective
FROM running
