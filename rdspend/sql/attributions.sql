-- Every nano of the charges, to a job or a bucket, by day. In: slot, spread_day, node_day, job_day, job, span, line_key.
-- Out: attributions (the ledger's table). Idle is what jobs did not take of a cluster's nodes on a day.
CREATE OR REPLACE TEMP TABLE attributions AS
WITH part AS (
    SELECT k, 'node' AS route, d, j, NULL AS cluster, NULL AS bucket, NULL AS service, effective, billed FROM job_day
    UNION ALL
    SELECT k, 'node', d, NULL, cluster, 'idle', NULL, CAST(sum(effective) AS BIGINT), CAST(sum(billed) AS BIGINT) FROM (
        SELECT k, d, cluster, {effective} AS effective, {billed} AS billed FROM node_day JOIN span USING (n)
        UNION ALL
        SELECT k, d, cluster, -effective, -billed FROM job_day JOIN job USING (j)
    ) GROUP BY k, d, cluster
    UNION ALL
    SELECT k, CASE class WHEN 1 THEN 'job' WHEN 4 THEN 'shared' ELSE 'bill_idle' END, d, what, NULL,
        CASE class WHEN 4 THEN 'shared' WHEN 5 THEN 'bill_idle' END, service, {effective}, {billed}
    FROM slot WHERE class IN (1, 4, 5)
    {spread_too}
)
SELECT
    source, billing_period, billing_currency, basis,
    strftime(make_timestamp(CAST(d AS BIGINT) * 86400000000), '%Y-%m-%d') AS day,
    route,
    COALESCE(part.cluster, job.cluster) AS cluster,
    job_key, bucket,
    CASE WHEN bucket IN ('shared', 'bill_idle') THEN service END AS service,
    CAST(sum(effective) AS BIGINT) AS effective_cost_nanos,
    CAST(sum(billed) AS BIGINT) AS billed_cost_nanos
FROM part JOIN line_key USING (k) LEFT JOIN job USING (j)
GROUP BY ALL
HAVING sum(effective) <> 0 OR sum(billed) <> 0
