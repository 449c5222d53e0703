-- Money and GPU time of each job of the period, with what won the right to say what it was for.
-- In: attributions, occupancy, tags, jobs (all of the period). Out: job_money (job).
-- The tagger of highest authority that has an answer wins, for activity and stage apart.
CREATE OR REPLACE TEMP TABLE job_money AS
WITH paid AS (
    SELECT job_key, sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed,
        CASE WHEN min(basis) = max(basis) THEN min(basis) ELSE 'mixed' END AS basis
    FROM attributions WHERE job_key IS NOT NULL AND billing_currency = $currency GROUP BY job_key
),
used AS (
    SELECT job_key, any_value(cluster) AS cluster, sum(gpu_part_seconds) AS gpu_part_seconds
    FROM occupancy WHERE job_key IS NOT NULL {foreign} GROUP BY job_key
),
both_sides AS (
    SELECT COALESCE(paid.job_key, used.job_key) AS job_key, effective, billed, basis, gpu_part_seconds
    FROM paid FULL JOIN used ON used.job_key = paid.job_key
),
won AS (
    SELECT job_key,
        arg_min(activity, {rank}) FILTER (activity IS NOT NULL) AS activity,
        arg_min(stage, {rank}) FILTER (stage IS NOT NULL) AS stage
    FROM tags SEMI JOIN both_sides USING (job_key) GROUP BY job_key
)
SELECT m.job_key, COALESCE(m.effective, 0) AS effective, COALESCE(m.billed, 0) AS billed, COALESCE(m.basis, 'unpriced') AS basis,
    COALESCE(m.gpu_part_seconds, 0) AS gpu_part_seconds,
    COALESCE(won.activity, 'unclassified') AS category, COALESCE(won.stage, '') AS stage,
    COALESCE(j.account, j.project, '') AS team, j.cluster, COALESCE(j.name, '') AS name, j.outcome
FROM both_sides AS m JOIN jobs AS j ON j.job_key = m.job_key LEFT JOIN won ON won.job_key = m.job_key
