-- Everything that read or wrote something, or is named. In: file_use, lineage_job, tracked_runs, tracked_job, direct_match, named_claim.
-- Out: lineage_node (job_key is null for what is no job).
CREATE OR REPLACE TEMP TABLE lineage_node AS
SELECT job_key AS node, job_key, cluster, job_id, "user", name, outcome, s, e FROM lineage_job
SEMI JOIN (SELECT node AS job_key FROM file_use UNION SELECT job_key FROM direct_match) USING (job_key)
UNION ALL
SELECT 'run:' || r.source || '/' || r.run_id, NULL, r.cluster, NULL, r."user", r.name, r.status, epoch_us(r.start_time), epoch_us(r.end_time)
FROM tracked_runs AS r ANTI JOIN tracked_job USING (source, run_id)
UNION ALL
SELECT node, NULL, NULL, NULL, NULL, node, NULL, min("at"), min("at") FROM file_use WHERE starts_with(node, 'version:') GROUP BY node
UNION ALL
SELECT 'claim:' || row, NULL, NULL, NULL, NULL, NULL, NULL, released, released FROM named_claim
