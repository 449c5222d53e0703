-- A job that somebody who knows has told the activity of: what it says of itself, its weight, and the part it is in. {teachers}
-- are kinds of taggers by authority, {family} and {text} make those columns of jobs, {weight} is what a job weighs.
-- In: jobs, tags (of the teachers only), trial_job. Out: suggest_job (job).
CREATE OR REPLACE TEMP TABLE suggest_job AS
WITH told AS (
    SELECT job_key, arg_min(activity, rank) AS activity, min(rank) AS rank, arg_min(stage, rank) FILTER (stage IS NOT NULL) AS stage
    FROM (
        SELECT job_key, list_position([{teachers}], string_split(tagger, '.')[1]) AS rank, min(activity) AS activity,
            min(stage) AS stage
        FROM tags SEMI JOIN trial_job USING (job_key) WHERE activity IS NOT NULL GROUP BY job_key, tagger
    )
    GROUP BY job_key
)
SELECT told.activity, told.stage, ([{teachers}])[told.rank] AS told_by, {family} AS family, {text} AS text,
    "user", account, queue, strftime(timezone('UTC', submit_time), '%Y-%m-%d') AS day, greatest(CAST({weight} AS HUGEINT), 0) AS weight
FROM told JOIN jobs USING (job_key) JOIN trial_job USING (job_key)
