-- Bill rows of the moved resource days that are in one revision only or cost something else, summed by content, largest move
-- first. In: gone_line, new_line, moved_slot.
WITH line AS (
    SELECT false AS after, {slot} AS slot, {columns} FROM gone_line WHERE billing_currency = $currency
    UNION ALL
    SELECT true, {slot}, {columns} FROM new_line WHERE billing_currency = $currency
),
summed AS (
    SELECT {key},
        COALESCE(sum(effective_cost_nanos) FILTER (NOT after), 0) AS effective_before,
        COALESCE(sum(effective_cost_nanos) FILTER (after), 0) AS effective_after,
        COALESCE(sum(billed_cost_nanos) FILTER (NOT after), 0) AS billed_before,
        COALESCE(sum(billed_cost_nanos) FILTER (after), 0) AS billed_after,
        count(*) FILTER (NOT after) AS rows_before, count(*) FILTER (after) AS rows_after,
        min((origin_file, origin_row)) FILTER (NOT after) AS origin_before,
        min((origin_file, origin_row)) FILTER (after) AS origin_after
    FROM line WHERE slot IN (SELECT slot FROM moved_slot WHERE looked_at)
    GROUP BY {key}
)
SELECT source, COALESCE(billing_account_id, ''), COALESCE(sub_account_id, ''), COALESCE(service_name, ''), COALESCE(resource_id, ''),
    COALESCE(sku_id, ''), charge_category, COALESCE(line_type, ''), strftime(timezone('UTC', charge_period_start), '%Y-%m-%dT%H:%M:%SZ'),
    strftime(timezone('UTC', charge_period_end), '%Y-%m-%dT%H:%M:%SZ'), COALESCE(charge_description, ''),
    COALESCE(capacity_reservation_status, commitment_discount_status, ''),
    effective_before, effective_after, billed_before, billed_after, rows_before, rows_after,
    COALESCE(origin_before[1] || ':' || origin_before[2], ''), COALESCE(origin_after[1] || ':' || origin_after[2], '')
FROM summed
WHERE effective_before <> effective_after OR billed_before <> billed_after
ORDER BY greatest(abs(effective_after - effective_before), abs(billed_after - billed_before)) DESC, {key}
LIMIT $limit
