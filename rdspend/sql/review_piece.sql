-- The period's jobs in pieces that an answer takes or leaves as a whole. In: review_job.
-- Out: review_piece (family x person x team x what counts for it now).
CREATE OR REPLACE TEMP TABLE review_piece AS
SELECT 'piece ' || row_number() OVER () AS job_key, *, {authority} AS kind_rank FROM (
    SELECT family, whose, basis, category, stage, role, release, activity, team, outcome, tagger, confidence, chances, count(*) AS jobs,
        sum(effective) AS effective, sum(billed) AS billed, sum(gpu_part_seconds) AS gpu_part_seconds, sum(weighs) AS weighs
    FROM review_job GROUP BY ALL
)
