-- An hour at present prices as the tables of a breakdown, of one currency ('' for what has no price). In: held_now, idle_now, job.
-- Out: burning (job, or idle of a cluster), with money and GPU parts in the place of GPU part-seconds.
CREATE OR REPLACE TEMP TABLE burning AS
SELECT job.job_key, held.cluster, sum(held.cost) AS cost, sum(held.gpu_parts) AS gpu_parts
FROM held_now AS held JOIN job USING (j) WHERE COALESCE(held.currency, '') = $currency GROUP BY ALL
UNION ALL
SELECT NULL, cluster, sum(cost), CASE WHEN bool_or(gpu_parts IS NULL) THEN NULL ELSE sum(gpu_parts) END
FROM idle_now WHERE COALESCE(currency, '') = $currency GROUP BY cluster
