-- The spans between all borders of the segments of a job, and further ones, and who won each, as in job_part_whole. In: tags, jobs,
-- cut_job, occupancy. Out: job_span (part counts from 0; times are microseconds since 1970).
-- A job that still runs ends where its GPU time does that was counted so far.
CREATE OR REPLACE TEMP TABLE job_span AS
WITH of_job AS (
    SELECT job_key, epoch_us(COALESCE(start_time, submit_time)) AS since,
        COALESCE(epoch_us(end_time), greatest(epoch_us(COALESCE(start_time, submit_time)), day_start) + counted, {latest}) AS until
    FROM jobs SEMI JOIN cut_job USING (job_key)
    LEFT JOIN (
        SELECT job_key, epoch_us(CAST(max(day) AS TIMESTAMP)) AS day_start, arg_max(gpu_part_seconds, day) AS parts
        FROM occupancy SEMI JOIN cut_job USING (job_key) GROUP BY job_key
    ) USING (job_key)
    CROSS JOIN LATERAL (SELECT CASE WHEN parts > 0 AND gpu_parts > 0 THEN parts * 1000000 // gpu_parts END AS counted)
),
said AS (
    SELECT t.*, COALESCE(epoch_us(segment_start), {earliest}) AS s, COALESCE(epoch_us(segment_end), {latest}) AS e
    FROM tags AS t SEMI JOIN cut_job USING (job_key)
    WHERE activity IS NOT NULL OR stage IS NOT NULL
),
border AS (
    SELECT job_key, since AS b FROM of_job
    UNION SELECT job_key, s FROM said JOIN of_job USING (job_key) WHERE s > since AND s < until
    UNION SELECT job_key, e FROM said JOIN of_job USING (job_key) WHERE e > since AND e < until
    {also}
),
span AS (
    SELECT job_key, b AS s, COALESCE(lead(b) OVER following, until) AS e, row_number() OVER following - 1 AS part
    FROM border JOIN of_job USING (job_key)
    WINDOW following AS (PARTITION BY job_key ORDER BY b)
),
held AS (
    SELECT span.*, said.tagger, said.activity, said.stage, said.role, said.release
    FROM span LEFT JOIN said ON said.job_key = span.job_key AND said.s <= span.s AND said.e >= span.e
),
won AS (
    SELECT job_key, part, s, e,
        arg_min(activity, {rank}) FILTER (activity IS NOT NULL) AS activity,
        arg_min(stage, {rank}) FILTER (stage IS NOT NULL) AS stage
    FROM held GROUP BY job_key, part, s, e
),
claimed AS (
    SELECT job_key, part, activity, arg_min(role, {rank}) AS role, arg_min(release, {rank}) AS release
    FROM held WHERE role IS NOT NULL GROUP BY job_key, part, activity
)
SELECT won.job_key, won.part, won.s, won.e, won.activity, COALESCE(claimed.role, '') AS role,
    COALESCE(claimed.release, '') AS release, won.stage
FROM won LEFT JOIN claimed USING (job_key, part, activity)
