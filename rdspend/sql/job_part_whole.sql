-- Jobs that every tagger answers for as a whole. In: job_sum, tags, cut_job. Out: job_part.
-- The tagger of highest authority that has an answer wins, for activity and stage apart. Role and release are of the highest answer that
-- names a release and says the activity that won: a label that agrees with a release does not take the job out of it.
CREATE OR REPLACE TEMP TABLE job_part AS
WITH won AS (
    SELECT job_key,
        arg_min(activity, {rank}) FILTER (activity IS NOT NULL) AS activity,
        arg_min(stage, {rank}) FILTER (stage IS NOT NULL) AS stage
    FROM tags SEMI JOIN job_sum USING (job_key)
    WHERE activity IS NOT NULL OR stage IS NOT NULL GROUP BY job_key
),
claimed AS (
    SELECT job_key, activity, arg_min(role, {rank}) AS role, arg_min(release, {rank}) AS release
    FROM tags WHERE role IS NOT NULL GROUP BY job_key, activity
)
SELECT m.*, 0 AS part, won.activity, COALESCE(claimed.role, '') AS role, COALESCE(claimed.release, '') AS release, won.stage
FROM job_sum AS m LEFT JOIN won USING (job_key)
LEFT JOIN claimed ON claimed.job_key = m.job_key AND claimed.activity = won.activity
WHERE m.job_key NOT IN (SELECT job_key FROM cut_job)
