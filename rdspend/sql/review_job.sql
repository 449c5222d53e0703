-- Jobs of the period with family, person and what counts for them now: who won the activity, how sure, and the chances told.
-- In: job_money, jobs, families, tags. Out: review_job (job).
CREATE OR REPLACE TEMP TABLE review_job AS
WITH won AS (
    SELECT job_key, activity,
        arg_min(tagger, {rank}) AS tagger, arg_min(confidence, {rank}) AS confidence
    FROM tags SEMI JOIN job_money USING (job_key) WHERE activity IS NOT NULL GROUP BY job_key, activity
),
told AS (
    SELECT job_key, arg_min(chances, {rank}) FILTER (chances IS NOT NULL) AS chances
    FROM tags SEMI JOIN job_money USING (job_key) GROUP BY job_key
)
SELECT m.job_key, COALESCE(f.family, '') AS family, COALESCE(j."user", '') AS whose, m.effective, m.billed, m.basis, m.gpu_part_seconds,
    m.category, m.stage, m.role, m.release, m.activity, m.team, m.outcome, COALESCE(won.tagger, '') AS tagger,
    round(COALESCE(won.confidence, 0), 2) AS confidence, told.chances, CAST({amount} AS DOUBLE) AS weighs
FROM job_money AS m JOIN jobs AS j USING (job_key) LEFT JOIN families AS f USING (job_key)
LEFT JOIN won ON won.job_key = m.job_key AND won.activity = m.activity
LEFT JOIN told ON told.job_key = m.job_key
