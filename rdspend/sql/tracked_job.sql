-- The job that a tracked run was, where that is known without a guess. In: tracked_runs, lineage_job. Out: tracked_job.
-- A run that names its job is one of the runs of that id: the last that began before it (a minute for clocks). One that names none is the
-- only job of its user that has its name and held its start. A part of a run is in the job of the whole.
CREATE OR REPLACE TEMP TABLE tracked_job AS
WITH run AS (
    SELECT r.source, r.run_id, coalesce(r.cluster, p.cluster) AS cluster, coalesce(r.job_id, p.job_id) AS job_id, r."user", r.name,
        epoch_us(coalesce(r.start_time, p.start_time)) AS s, coalesce(r.origin_file, '') AS origin_file
    FROM tracked_runs AS r LEFT JOIN tracked_runs AS p ON p.source = r.source AND p.run_id = r.parent_run_id
),
by_id AS (
    SELECT r.source, r.run_id, count(DISTINCT j.cluster) AS clusters, count(*) AS jobs, arg_max(j.job_key, j.s) AS job_key,
        bool_or(r.s IS NULL) AS undated
    FROM run AS r JOIN lineage_job AS j ON j.job_id = r.job_id AND coalesce(j.cluster = r.cluster, r.cluster IS NULL)
    WHERE coalesce(j.s <= r.s + 60000000, true)
    GROUP BY r.source, r.run_id
),
by_time AS (
    SELECT r.source, r.run_id, count(*) AS jobs, any_value(j.job_key) AS job_key
    FROM run AS r JOIN lineage_job AS j ON j."user" = r."user" AND j.name = r.name
    WHERE r.job_id IS NULL AND r.s >= j.s AND coalesce(r.s < j.e, true) AND coalesce(j.cluster = r.cluster, r.cluster IS NULL)
    GROUP BY r.source, r.run_id
)
SELECT source, run_id, job_key, CAST(1.0 AS DOUBLE) AS confidence FROM by_id WHERE clusters = 1 AND (jobs = 1 OR NOT undated)
UNION ALL
SELECT source, run_id, job_key, CAST(0.9 AS DOUBLE) FROM by_time WHERE jobs = 1
