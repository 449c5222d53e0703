-- Every summary to compare the bills of these months with; one row a statement. In: statements.
SELECT source, billing_period, origin_file, origin_row, bill, COALESCE(service_name, ''), COALESCE(sub_account_id, ''), currency,
    billed_cost_nanos, effective_cost_nanos, complete
FROM statements
WHERE kind = 'check' AND billing_period IN (SELECT unnest($months))
ORDER BY ALL
