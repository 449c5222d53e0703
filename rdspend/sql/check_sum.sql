-- The side of the bill in a check: source x month x currency x service x account, sums in nanos. In: charges.
SELECT source, billing_period, billing_currency, COALESCE(service_name, ''), COALESCE(sub_account_id, ''),
    sum(billed_cost_nanos) AS billed, sum(effective_cost_nanos) AS effective
FROM charges WHERE basis = 'billed'
GROUP BY ALL
