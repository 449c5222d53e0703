-- Every total stated of an invoice that is stated of these months, or that their bills name; one row a statement. In: statements.
WITH wanted AS (
    SELECT invoice_id FROM statements WHERE billing_period IN (SELECT unnest($months))
    UNION
    SELECT unnest($invoices) AS invoice_id
)
SELECT source, billing_period, origin_file, origin_row, invoice_id, bill, provider_name, currency, billed_cost_nanos
FROM statements
WHERE kind = 'invoice' AND complete AND invoice_id IN (SELECT invoice_id FROM wanted WHERE invoice_id IS NOT NULL)
    AND billed_cost_nanos IS NOT NULL
ORDER BY invoice_id, currency, bill NULLS LAST, billing_period, origin_file, origin_row
