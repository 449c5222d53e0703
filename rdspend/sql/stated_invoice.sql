-- Every total stated of an invoice that is of these months, or that their bills name; one row a statement. In: statements.
SELECT source, billing_period, origin_file, origin_row, invoice_id, bill, currency, billed_cost_nanos
FROM statements
WHERE kind = 'invoice' AND complete
    AND (billing_period IN (SELECT unnest($months)) OR invoice_id IN (SELECT unnest($invoices)))
ORDER BY invoice_id, currency, bill NULLS LAST, origin_file, origin_row
