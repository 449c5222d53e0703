-- Where the walk back from each release begins: at the runs that it names. In: direct_claim, named_run, named_claim. Out: ancestor.
-- A checkpoint or model that it names is read by `claim:ROW`, which is no run itself.
CREATE OR REPLACE TEMP TABLE ancestor AS
SELECT release, job_key AS node, min(confidence) AS confidence, min(evidence) AS evidence, CAST(0 AS BIGINT) AS level
FROM direct_claim WHERE role IN ('run', 'rollout') GROUP BY release, job_key
UNION ALL
SELECT c.release, r.node, min(r.confidence), min(c.at || ' names ' || r.source || ' run ' || r.run_id), 0
FROM named_run AS r JOIN named_claim AS c USING (row)
WHERE c.role IN ('run', 'rollout') GROUP BY c.release, r.node
UNION ALL
SELECT release, 'claim:' || row, CAST(1.0 AS DOUBLE), "at" || ' names ' || kind || ' ' || value, 0
FROM named_claim WHERE kind IN ('checkpoint', 'model') AND role IN ('run', 'rollout')
