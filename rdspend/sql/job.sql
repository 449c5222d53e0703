-- Jobs as integers. In: jobs (run). Out: job (same grain), j = integer key, s and e epoch seconds (an open job ends now).
CREATE OR REPLACE TEMP TABLE job AS
SELECT
    CAST(row_number() OVER () AS INTEGER) AS j,
    job_key, cluster, resource_id,
    epoch_us(COALESCE(start_time, submit_time)) // 1000000 AS s,
    COALESCE(epoch_us(end_time) // 1000000, $now) AS e
FROM jobs
