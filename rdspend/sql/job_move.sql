-- Each job, or part of one, in both revisions; null where one does not know it. A part that only one revision knows of a job that both
-- know was what the job's first part is. In: before_job, after_job (job_money). Out: job_move.
CREATE OR REPLACE TEMP TABLE job_move AS
SELECT job_key, COALESCE(b.category, b0.category) AS category_before, COALESCE(a.category, a0.category) AS category_after,
    COALESCE(b.stage, b0.stage) AS stage_before, COALESCE(a.stage, a0.stage) AS stage_after,
    COALESCE(b.role, b0.role) AS role_before, COALESCE(a.role, a0.role) AS role_after,
    COALESCE(b.release, b0.release) AS release_before, COALESCE(a.release, a0.release) AS release_after,
    COALESCE(b.team, b0.team) AS team_before, COALESCE(a.team, a0.team) AS team_after,
    COALESCE(b.effective, 0) AS effective_before, COALESCE(a.effective, 0) AS effective_after,
    COALESCE(b.billed, 0) AS billed_before, COALESCE(a.billed, 0) AS billed_after,
    COALESCE(b.gpu_part_seconds, b0.gpu_part_seconds * 0) AS parts_before,
    COALESCE(a.gpu_part_seconds, a0.gpu_part_seconds * 0) AS parts_after
FROM before_job AS b FULL JOIN after_job AS a USING (job_key, part)
LEFT JOIN (SELECT * FROM before_job WHERE part = 0) AS b0 USING (job_key)
LEFT JOIN (SELECT * FROM after_job WHERE part = 0) AS a0 USING (job_key)
