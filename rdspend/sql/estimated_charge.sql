-- Estimates as charges. In: estimated (estimate of one source). Out: estimated_charge (the ledger's charges, less source and billing period).
-- What a rate card sells is GPU types: that is the sku_id, and how an estimate finds its error.
CREATE OR REPLACE TEMP VIEW estimated_charge AS
SELECT
    origin_file, origin_row, 'estimated' AS basis,
    cost AS billed_cost_nanos, cost AS effective_cost_nanos, currency AS billing_currency,
    to_timestamp(s) AS charge_period_start, to_timestamp(e) AS charge_period_end,
    'Usage' AS charge_category, 'estimate from the rate card' AS charge_description,
    resource_id, cluster || '/' || node AS resource_name, 'Compute' AS service_category, 'rate card' AS service_name, gpu_type AS sku_id,
    CAST((e - s) AS DOUBLE) / 3600 AS pricing_quantity, 'Node-Hours' AS pricing_unit
FROM estimated
