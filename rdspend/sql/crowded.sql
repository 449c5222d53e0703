-- Node records whose records hold more than the node has at some instant: a running sum over starts and ends.
-- In: piece. Out: crowded (node record).
CREATE OR REPLACE TEMP TABLE crowded AS
WITH event AS (
    SELECT n, t, sum(step) AS step, any_value(den) AS den FROM (
        SELECT n, s AS t, num AS step, den FROM piece WHERE NOT unknown
        UNION ALL
        SELECT n, e AS t, -num AS step, den FROM piece WHERE NOT unknown
    ) GROUP BY n, t
)
SELECT n, max(den) AS den, CAST(max(held) AS BIGINT) AS most, count(*) FILTER (held > den) AS times FROM (
    SELECT n, den, sum(step) OVER (PARTITION BY n ORDER BY t ROWS UNBOUNDED PRECEDING) AS held FROM event
) GROUP BY n HAVING max(held) > max(den)
