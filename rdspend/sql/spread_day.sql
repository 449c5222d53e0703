-- Every other line over the days of its period, evenly by seconds. In: spread_line, spread_node, job, span.
-- Out: spread_day (line x day x job or cluster). class 1: a job billed by its own resource, over its runs by overlap (none overlaps: the
-- latest that started); 4: shared; 5: the bill says unused; 6: paid for a node that was never up in the period: idle of its cluster.
CREATE OR REPLACE TEMP TABLE spread_day AS
WITH stranded AS (
    SELECT l.* REPLACE (6 AS class),
        (SELECT arg_min(p.cluster, (greatest(p.s - l.e, l.s - p.e, 0), p.n)) FROM span AS p
         WHERE p.resource_id = l.resource_id OR p.pool = l.resource_id) AS cluster
    FROM spread_line AS l
    WHERE l.class IN (2, 3) AND l.l NOT IN (SELECT l FROM spread_node)
),
run AS (
    SELECT l.l, r.j, r.started, r.s AS run_s, greatest(l.s, r.s) AS s, least(l.e, r.e) AS e
    FROM spread_line AS l JOIN job AS r ON r.resource_id = l.resource_id
    WHERE l.class = 1
),
part AS (
    SELECT l.l, l.k, l.class, l.service, l.effective, l.billed, l.s, l.e, NULL AS j, NULL AS cluster
    FROM spread_line AS l WHERE l.class IN (4, 5)
    UNION ALL
    SELECT l, k, class, service, effective, billed, s, e, NULL, cluster FROM stranded
    UNION ALL
    SELECT l.l, l.k, l.class, l.service, l.effective, l.billed, run.s, run.e, run.j, NULL
    FROM spread_line AS l JOIN run USING (l) WHERE run.s < run.e
    UNION ALL
    SELECT l.l, l.k, l.class, l.service, l.effective, l.billed, l.s, l.e, last.j, NULL
    FROM spread_line AS l
    JOIN (SELECT l, arg_max(j, (started, run_s, j)) AS j FROM run GROUP BY l HAVING count(*) FILTER (s < e) = 0) AS last USING (l)
),
daily AS (
    SELECT *, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d FROM part
),
weighed AS (
    SELECT *, CAST(least(e, (d + 1) * 86400) - greatest(s, d * 86400) AS HUGEINT) AS w FROM daily
),
running AS (
    SELECT *,
        sum(w) OVER (PARTITION BY l ORDER BY d, j ROWS UNBOUNDED PRECEDING) AS upto,
        sum(w) OVER (PARTITION BY l) AS whole
    FROM weighed
)
SELECT l, k, class, service, j, cluster, CAST(d AS INTEGER) AS d,
    CAST(effective * CAST(upto AS HUGEINT) // whole - effective * CAST(upto - w AS HUGEINT) // whole AS BIGINT) AS effective,
    CAST(billed * CAST(upto AS HUGEINT) // whole - billed * CAST(upto - w AS HUGEINT) // whole AS BIGINT) AS billed
FROM running
