-- Both sides of every source, month, currency and basis. In: charges, attributions. Sums in nanos, effective and billed.
SELECT source, billing_period, billing_currency, basis,
    sum(charged) AS charges, sum(attributed) AS attributed, sum(billed_charged) AS billed_charges, sum(billed_attributed) AS billed_attributed
FROM (
    SELECT source, billing_period, billing_currency, basis, sum(effective_cost_nanos) AS charged, 0 AS attributed,
        sum(billed_cost_nanos) AS billed_charged, 0 AS billed_attributed
    FROM charges GROUP BY ALL
    UNION ALL
    SELECT source, billing_period, billing_currency, basis, 0, sum(effective_cost_nanos), 0, sum(billed_cost_nanos)
    FROM attributions GROUP BY ALL
)
GROUP BY ALL
ORDER BY ALL
