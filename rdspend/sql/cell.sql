-- The period crossed by category, stage, team, cluster and basis. In: job_money, attributions, occupancy. Out: cell.
CREATE OR REPLACE TEMP TABLE cell AS
SELECT category, stage, team, cluster, basis, sum(effective) AS effective, sum(billed) AS billed, sum(gpu_part_seconds) AS gpu_part_seconds
FROM job_money GROUP BY ALL
UNION ALL
SELECT bucket, '', '', COALESCE(cluster, ''), basis, sum(effective_cost_nanos), sum(billed_cost_nanos), 0
FROM attributions WHERE bucket IS NOT NULL AND billing_currency = $currency
GROUP BY ALL
UNION ALL
SELECT 'idle', '', '', cluster, '', 0, 0, sum(gpu_part_seconds)
FROM occupancy WHERE job_key IS NULL AND gpu_part_seconds > 0 GROUP BY ALL
