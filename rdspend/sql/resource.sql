-- What a resource id stands for, first match wins: a job, a node, a pool. In: job, span. Out: resource (resource id).
-- `sole` is the job or node record when there is exactly one, up from since to until: most of its lines need no spreading.
CREATE OR REPLACE TEMP TABLE resource AS
SELECT resource_id, route, sole, since, until FROM (
    SELECT resource_id, 1 AS route, CASE WHEN count(*) = 1 THEN min(j) END AS sole, min(s) AS since, max(e) AS until
    FROM job WHERE resource_id IS NOT NULL GROUP BY resource_id
    UNION ALL
    SELECT resource_id, 2 AS route, CASE WHEN count(*) = 1 THEN min(n) END AS sole, min(s) AS since, max(e) AS until
    FROM span WHERE resource_id IS NOT NULL GROUP BY resource_id
    UNION ALL
    SELECT pool AS resource_id, 3 AS route, NULL AS sole, NULL AS since, NULL AS until
    FROM span WHERE pool IS NOT NULL GROUP BY pool
)
QUALIFY row_number() OVER (PARTITION BY resource_id ORDER BY route) = 1
