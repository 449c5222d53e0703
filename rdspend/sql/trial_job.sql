-- The jobs that a dry run looks at: those with money in one currency, or with GPU time and no money in another.
-- In: attributions, occupancy, jobs (all of the period). Out: trial_job (job).
CREATE OR REPLACE TEMP TABLE trial_job AS
WITH paid AS (
    SELECT job_key, sum(effective_cost_nanos) FILTER (billing_currency = $currency) AS effective
    FROM attributions WHERE job_key IS NOT NULL GROUP BY job_key
),
used AS (
    SELECT job_key, sum(gpu_part_seconds) AS gpu_part_seconds FROM occupancy WHERE job_key IS NOT NULL GROUP BY job_key
),
both_sides AS (
    SELECT COALESCE(paid.job_key, used.job_key) AS job_key, effective, gpu_part_seconds,
        paid.job_key IS NOT NULL AND effective IS NULL AS paid_otherwise
    FROM paid FULL JOIN used ON used.job_key = paid.job_key
)
SELECT m.job_key, COALESCE(m.effective, 0) AS effective, COALESCE(m.gpu_part_seconds, 0) AS gpu_part_seconds,
    COALESCE(j.account, j.project, '') AS team
FROM both_sides AS m JOIN jobs AS j ON j.job_key = m.job_key
WHERE NOT m.paid_otherwise
