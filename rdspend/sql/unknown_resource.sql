-- Resources that an agreement pays for (resource type Pool) and that nothing has. In: charges, resource.
SELECT resource_id, billing_currency, count(*) AS lines, sum(effective_cost_nanos) AS effective
FROM charges ANTI JOIN resource USING (resource_id)
WHERE resource_type = 'Pool' AND resource_id IS NOT NULL
GROUP BY ALL ORDER BY ALL
