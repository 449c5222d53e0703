-- What a bill is made of: source x invoice x currency x category, sums in nanos. In: charges. One scan: lines are first summed
-- by the few values that decide, then named. Unused goes before used; a refund or discount is what the provider calls so.
SELECT source, COALESCE(invoice_id, '') AS invoice, billing_currency,
    CASE
        WHEN basis = 'estimated' THEN 'usage'
        WHEN commitment_discount_status = 'Unused' OR capacity_reservation_status = 'Unused' THEN 'commitment_unused'
        WHEN commitment_discount_status = 'Used' OR capacity_reservation_status = 'Used' THEN 'commitment_used'
        WHEN lower(line_type) = 'refund' THEN 'refund'
        WHEN lower(line_type) LIKE '%discount' THEN 'discount'
        WHEN lower(line_type) IN ('rounding_error', 'roundingadjustment') THEN 'rounding'
        ELSE lower(charge_category)
    END AS category,
    sum(billed) AS billed, sum(effective) AS effective
FROM (
    SELECT source, invoice_id, billing_currency, basis, commitment_discount_status, capacity_reservation_status, line_type,
        charge_category, sum(billed_cost_nanos) AS billed, sum(effective_cost_nanos) AS effective
    FROM charges GROUP BY ALL
)
GROUP BY ALL
ORDER BY ALL
