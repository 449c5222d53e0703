-- Money and GPU time that no job took, by bucket. In: attributions, occupancy.
SELECT bucket, CAST(sum(effective) AS HUGEINT), CAST(sum(billed) AS HUGEINT), CAST(sum(parts) AS HUGEINT) FROM (
    SELECT bucket, effective_cost_nanos AS effective, billed_cost_nanos AS billed, 0 AS parts
    FROM attributions WHERE bucket IS NOT NULL AND billing_currency = $currency
    UNION ALL
    SELECT 'idle', 0, 0, COALESCE(gpu_part_seconds, 0) FROM occupancy WHERE job_key IS NULL
)
GROUP BY bucket
