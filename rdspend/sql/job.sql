-- Jobs as integers. In: jobs (run). Out: job (same grain), j = integer key in order of job_key, s and e epoch seconds (an open job
-- ends now; one that never started overlaps nothing).
CREATE OR REPLACE TEMP TABLE job AS
SELECT
    CAST(row_number() OVER (ORDER BY job_key) AS INTEGER) AS j,
    job_key, cluster, resource_id,
    start_time IS NOT NULL AS started,
    CASE WHEN start_time IS NULL THEN $latest ELSE epoch_us(start_time) // 1000000 END AS s,
    CASE WHEN start_time IS NULL THEN $earliest ELSE COALESCE(epoch_us(end_time) // 1000000, $now) END AS e
FROM jobs
