-- What the taggers say today of each job: those above the tried one, itself, those below it. {rank} ranks the column tagger,
-- $mine is the rank of the tried one. A job with answers for several segments counts with the first of them by name.
-- In: tags, trial_job. Out: trial_answer (job with any answer).
CREATE OR REPLACE TEMP TABLE trial_answer AS
WITH each AS (
    SELECT job_key, {rank} AS rank, min(activity) AS activity, min(stage) AS stage
    FROM tags SEMI JOIN trial_job USING (job_key) GROUP BY job_key, tagger
)
SELECT job_key,
    arg_min(activity, rank) FILTER (rank < $mine AND activity IS NOT NULL) AS activity_above,
    arg_min(activity, rank) FILTER (rank = $mine AND activity IS NOT NULL) AS activity_own,
    arg_min(activity, rank) FILTER (rank > $mine AND activity IS NOT NULL) AS activity_below,
    arg_min(stage, rank) FILTER (rank < $mine AND stage IS NOT NULL) AS stage_above,
    arg_min(stage, rank) FILTER (rank = $mine AND stage IS NOT NULL) AS stage_own,
    arg_min(stage, rank) FILTER (rank > $mine AND stage IS NOT NULL) AS stage_below
FROM each GROUP BY job_key
