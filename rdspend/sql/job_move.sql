-- Each job in both revisions; null where one does not know it. In: before_job, after_job (job_money). Out: job_move.
CREATE OR REPLACE TEMP TABLE job_move AS
SELECT job_key, b.category AS category_before, a.category AS category_after, b.stage AS stage_before, a.stage AS stage_after,
    b.team AS team_before, a.team AS team_after,
    COALESCE(b.effective, 0) AS effective_before, COALESCE(a.effective, 0) AS effective_after,
    COALESCE(b.billed, 0) AS billed_before, COALESCE(a.billed, 0) AS billed_after,
    b.gpu_part_seconds AS parts_before, a.gpu_part_seconds AS parts_after
FROM before_job AS b FULL JOIN after_job AS a USING (job_key)
