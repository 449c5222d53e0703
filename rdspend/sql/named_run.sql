-- Tracked runs that releases name, by id or name. In: named_claim, tracked_runs, tracked_job, lineage_job. Out: named_run.
CREATE OR REPLACE TEMP TABLE named_run AS
SELECT DISTINCT c.row, r.source, r.run_id, coalesce(t.job_key, 'run:' || r.source || '/' || r.run_id) AS node, t.job_key,
    coalesce(t.confidence, CAST(1.0 AS DOUBLE)) AS confidence
FROM named_claim AS c JOIN tracked_runs AS r ON r.run_id = c.value OR coalesce(r.name, '') GLOB c.value
LEFT JOIN tracked_job AS t ON t.source = r.source AND t.run_id = r.run_id
WHERE c.kind = 'run' AND coalesce(epoch_us(r.start_time) < c.released, true)
    AND coalesce(r.experiment = c.experiment, c.experiment IS NULL) AND coalesce(r."user" = c."user", c."user" IS NULL)
    AND coalesce(epoch_us(r.start_time) >= c.since, true) AND coalesce(epoch_us(r.start_time) < c.until, true)
    AND coalesce(len(list_filter(c.but, lambda left_out: left_out = r.run_id OR coalesce(r.name, '') GLOB left_out)), 0) = 0
    AND (r.run_id = c.value OR c.experiment IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM tracked_runs AS o WHERE o.name = r.name AND o.run_id <> r.run_id AND r.name = c.value))
