-- Jobs and buckets whose rows do not add up to their attributions: there must be none. In: attributions, and the files that were written.
-- The differences in nanos, first one only.
WITH side AS (
    SELECT source, billing_currency, basis, job_key, CASE bucket {buckets} END AS bucket,
        sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed
    FROM attributions {wanted} GROUP BY ALL
    UNION ALL
    SELECT "x_SourceName", "BillingCurrency", "x_CostBasisCategory", "x_JobId",
        CASE WHEN "x_JobId" IS NULL THEN "x_ComputePurposeCategory" END, -{effective}, -{billed}
    FROM {written} GROUP BY ALL
)
SELECT source, billing_currency, basis, COALESCE(job_key, bucket), sum(effective) AS effective, sum(billed) AS billed
FROM side GROUP BY source, billing_currency, basis, job_key, bucket
HAVING sum(effective) <> 0 OR sum(billed) <> 0
ORDER BY 1, 2, 3, 4
LIMIT 1
