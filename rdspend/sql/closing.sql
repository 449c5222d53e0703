-- Both sides of an attribution just made, by key. In: line_key, charge_sum, attributions.
SELECT source, billing_period, billing_currency, basis, COALESCE(c.effective, 0) AS charges, COALESCE(a.effective, 0) AS attributed,
    COALESCE(c.billed, 0) AS billed_charges, COALESCE(a.billed, 0) AS billed_attributed
FROM line_key
LEFT JOIN charge_sum AS c USING (k)
LEFT JOIN (
    SELECT source, billing_period, billing_currency, basis, sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed
    FROM attributions GROUP BY ALL
) AS a USING (source, billing_period, billing_currency, basis)
ORDER BY ALL
