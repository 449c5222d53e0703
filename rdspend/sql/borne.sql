-- What each job bears of idle and shared money and of idle time, in whole nanos and GPU part-seconds: differences of cut running totals,
-- so that the parts add up. Idle money goes to its cluster's jobs by their cost, bill-idle and shared money to all jobs by their cost, idle
-- time to its cluster's jobs by their GPU time. A job that cost less than nothing bears nothing. In: job_part, jobs, attributions, occupancy.
-- Out: borne (job x part).
CREATE OR REPLACE TEMP TABLE borne AS
WITH of_cluster AS (
    SELECT cluster, CAST(sum(effective_cost_nanos) AS HUGEINT) AS effective, CAST(sum(billed_cost_nanos) AS HUGEINT) AS billed,
        min(basis) AS low, max(basis) AS high
    FROM attributions WHERE bucket = 'idle' AND billing_currency = $currency GROUP BY cluster
),
of_all AS (
    SELECT CAST(COALESCE(sum(effective_cost_nanos) FILTER (bucket = 'bill_idle'), 0) AS HUGEINT) AS unused,
        CAST(COALESCE(sum(billed_cost_nanos) FILTER (bucket = 'bill_idle'), 0) AS HUGEINT) AS unused_billed,
        CAST(COALESCE(sum(effective_cost_nanos) FILTER (bucket = 'shared'), 0) AS HUGEINT) AS shared,
        CAST(COALESCE(sum(billed_cost_nanos) FILTER (bucket = 'shared'), 0) AS HUGEINT) AS shared_billed,
        min(basis) FILTER (bucket = 'bill_idle') AS unused_low, max(basis) FILTER (bucket = 'bill_idle') AS unused_high,
        min(basis) FILTER (bucket = 'shared') AS shared_low, max(basis) FILTER (bucket = 'shared') AS shared_high
    FROM attributions WHERE bucket IN ('bill_idle', 'shared') AND billing_currency = $currency
),
time_of_cluster AS (
    SELECT cluster, CAST(COALESCE(sum(gpu_part_seconds), 0) AS HUGEINT) AS parts FROM occupancy WHERE job_key IS NULL GROUP BY cluster
),
part AS (
    SELECT m.job_key, m.part, j.cluster, CAST(greatest(m.effective, 0) AS HUGEINT) AS cost, CAST(m.gpu_part_seconds AS HUGEINT) AS held
    FROM job_part AS m JOIN jobs AS j USING (job_key)
    WHERE m.effective > 0 OR m.gpu_part_seconds > 0
),
running AS (
    SELECT job_key, part, cluster, cost,
        CAST(sum(cost) OVER here AS HUGEINT) AS here, CAST(sum(cost) OVER all_here AS HUGEINT) AS all_here, cost AS length,
        CAST(sum(held) OVER here AS HUGEINT) AS time, CAST(sum(held) OVER all_here AS HUGEINT) AS all_time, held,
        CAST(sum(cost) OVER everywhere AS HUGEINT) AS everywhere, CAST(sum(cost) OVER () AS HUGEINT) AS all_everywhere
    FROM part
    WINDOW here AS (PARTITION BY cluster ORDER BY job_key, part), all_here AS (PARTITION BY cluster),
        everywhere AS (ORDER BY job_key, part)
)
SELECT job_key, part,
    {idle} AS idle, {idle_billed} AS idle_billed, {unused} AS unused, {unused_billed} AS unused_billed,
    {shared} AS shared, {shared_billed} AS shared_billed, {idle_parts} AS idle_parts,
    CASE WHEN cost > 0 THEN low END AS idle_low, CASE WHEN cost > 0 THEN high END AS idle_high,
    CASE WHEN cost > 0 THEN unused_low END AS unused_low, CASE WHEN cost > 0 THEN unused_high END AS unused_high,
    CASE WHEN cost > 0 THEN shared_low END AS shared_low, CASE WHEN cost > 0 THEN shared_high END AS shared_high
FROM running LEFT JOIN of_cluster USING (cluster) LEFT JOIN time_of_cluster USING (cluster) CROSS JOIN of_all
