-- Money and GPU time of each job of the period. In: attributions, occupancy. Out: job_sum.
CREATE OR REPLACE TEMP TABLE job_sum AS
WITH paid AS (
    SELECT job_key, sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed,
        CASE WHEN min(basis) = max(basis) THEN min(basis) ELSE 'mixed' END AS basis
    FROM attributions WHERE job_key IS NOT NULL AND billing_currency = $currency GROUP BY job_key
),
used AS (
    SELECT job_key, sum(gpu_part_seconds) AS gpu_part_seconds
    FROM occupancy WHERE job_key IS NOT NULL {foreign} GROUP BY job_key
)
SELECT COALESCE(paid.job_key, used.job_key) AS job_key, COALESCE(effective, 0) AS effective, COALESCE(billed, 0) AS billed,
    COALESCE(basis, 'unpriced') AS basis, COALESCE(gpu_part_seconds, 0) AS gpu_part_seconds
FROM paid FULL JOIN used ON used.job_key = paid.job_key
