-- What ran on the nodes near one job, and the job itself. In: placements, near_nodes. Out: near_placements (job x node x span).
CREATE OR REPLACE TEMP TABLE near_placements AS
SELECT t.* FROM placements AS t WHERE t.job_key = $job_key OR (t.cluster, t.node) IN (SELECT (cluster, node) FROM near_nodes)
