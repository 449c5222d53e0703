-- Lines of invoices on bills of other billing periods. In: elsewhere (charges of all other periods). Sums in nanos by source,
-- billing period, invoice and currency.
SELECT source, invoice_id, billing_currency, billing_period, sum(billed_cost_nanos) AS billed
FROM elsewhere WHERE invoice_id IN (SELECT unnest($invoices))
GROUP BY ALL
ORDER BY ALL
