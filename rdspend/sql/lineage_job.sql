-- Jobs that started before the last release: only those can be behind one. In: every_job (jobs). Out: lineage_job (times are
-- microseconds since 1970; no end: it still runs).
CREATE OR REPLACE TEMP TABLE lineage_job AS
SELECT job_key, cluster, job_id, array_job_id, "user", account, project, name, work_dir, outcome,
    epoch_us(start_time) AS s, epoch_us(end_time) AS e
FROM every_job
WHERE epoch_us(start_time) < (SELECT max(released) FROM named_claim)
