-- Money of a currency that keeps a month from being closed: estimates, and what is billed as other than 0 without an invoice
-- (usage under a commitment is billed as 0 and never comes on one). In: charges. Out: source x basis with lines and nanos.
SELECT source, basis, count(*) AS lines, sum(CASE WHEN basis = 'estimated' THEN effective_cost_nanos ELSE billed_cost_nanos END) AS nanos
FROM charges
WHERE billing_currency = $currency
    AND CASE WHEN basis = 'estimated' THEN effective_cost_nanos <> 0 ELSE billed_cost_nanos <> 0 AND invoice_id IS NULL END
GROUP BY source, basis
ORDER BY source, basis
