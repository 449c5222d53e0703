-- The jobs near one job, and all runs billed by the same resource. In: jobs, near_placements. Out: near_jobs (run).
CREATE OR REPLACE TEMP TABLE near_jobs AS
SELECT * FROM jobs
WHERE job_key IN (SELECT job_key FROM near_placements) OR job_key = $job_key
    OR resource_id IN (SELECT resource_id FROM jobs WHERE job_key = $job_key)
