-- Money and GPU time by disputed case of the jobs that are not cut, without making a table of jobs. In: attributions, occupancy, case_won,
-- and segmented where there are such jobs.
SELECT COALESCE(({names})[won % {cases} + 1], 'unclassified') AS name,
    CAST(sum(effective) AS HUGEINT), CAST(sum(billed) AS HUGEINT), CAST(sum(parts) AS HUGEINT), 0, 0, 0, 0, 0, 0, 0
FROM (
    SELECT won, sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed, 0 AS parts
    FROM attributions LEFT JOIN case_won USING (job_key)
    WHERE job_key IS NOT NULL AND billing_currency = $currency {whole} GROUP BY won
    UNION ALL
    SELECT won, 0, 0, sum(gpu_part_seconds) FROM occupancy LEFT JOIN case_won USING (job_key)
    WHERE job_key IS NOT NULL {whole} {foreign} GROUP BY won
)
GROUP BY 1 ORDER BY 1
