-- Lines of invoices, by who issued them. In: {lines} (charges). Sums in nanos; names in lower case.
SELECT source, invoice_id, billing_currency, billing_period, lower(COALESCE(invoice_issuer_name, '')), lower(COALESCE(provider_name, '')),
    sum(billed_cost_nanos) AS billed
FROM {lines} WHERE invoice_id IN (SELECT unnest($invoices))
GROUP BY ALL
ORDER BY ALL
