-- The nodes of one job, all nodes of their pools, and other records of the same resources: a line is spread over all of them.
-- In: nodes, placements. Out: near_nodes (node x span).
CREATE OR REPLACE TEMP TABLE near_nodes AS
WITH mine AS (
    SELECT DISTINCT n.* FROM nodes AS n JOIN placements AS t ON t.cluster = n.cluster AND t.node = n.node WHERE t.job_key = $job_key
)
SELECT * FROM mine
UNION SELECT n.* FROM nodes AS n WHERE n.pool IN (SELECT pool FROM mine)
UNION SELECT n.* FROM nodes AS n WHERE n.resource_id IN (SELECT resource_id FROM mine)
