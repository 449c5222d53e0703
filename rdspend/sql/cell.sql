-- The period crossed by category, stage, team, cluster and basis; borne is what jobs bear of idle and shared. In: job_money, attributions,
-- occupancy, named_team where there are more teams than a breakdown names, and bearing where the policy spreads. Out: cell.
CREATE OR REPLACE TEMP TABLE cell AS
SELECT category, stage, {team} AS team, cluster, basis, sum(effective) AS effective, sum(billed) AS billed, sum(gpu_part_seconds) AS gpu_part_seconds,
    sum(borne) AS borne, sum(borne_parts) AS borne_parts
FROM job_money GROUP BY ALL
UNION ALL
SELECT bucket, '', '', COALESCE(cluster, ''), basis, sum(effective_cost_nanos), sum(billed_cost_nanos), 0, 0, 0
FROM attributions WHERE bucket IS NOT NULL AND billing_currency = $currency {shown}
GROUP BY ALL
UNION ALL
SELECT 'idle', '', '', cluster, '', 0, 0, sum(gpu_part_seconds), 0, 0
FROM occupancy WHERE job_key IS NULL AND gpu_part_seconds > 0 {shown_time} GROUP BY ALL
