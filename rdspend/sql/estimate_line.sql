-- Estimated charges near one job. In: charges, line_key. Out: estimate_line (charge).
CREATE OR REPLACE TEMP TABLE estimate_line AS
SELECT -row_number() OVER () AS l, k, origin_file, origin_row, resource_name, effective_cost_nanos AS cost,
    epoch_us(charge_period_start) // 1000000 AS s, epoch_us(charge_period_end) // 1000000 AS e
FROM charges JOIN line_key USING (source, billing_period, billing_currency, basis)
WHERE basis = 'estimated'
