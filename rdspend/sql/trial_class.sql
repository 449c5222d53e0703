-- What each job counts as today and with the tried answers in the place of the tagger's own.
-- In: trial_job, trial_answer, tried (job_key, activity, stage). Out: trial_class (job).
CREATE OR REPLACE TEMP TABLE trial_class AS
SELECT j.job_key, j.team, j.effective, j.gpu_part_seconds,
    COALESCE(a.activity_above, a.activity_own, a.activity_below, 'unclassified') AS before,
    COALESCE(a.activity_above, t.activity, a.activity_below, 'unclassified') AS after,
    COALESCE(a.stage_above, a.stage_own, a.stage_below, '') AS stage_before,
    COALESCE(a.stage_above, t.stage, a.stage_below, '') AS stage_after,
    a.activity_above, a.activity_below, t.activity AS said
FROM trial_job AS j LEFT JOIN trial_answer AS a USING (job_key) LEFT JOIN tried AS t USING (job_key)
