-- Every line and the way its money takes, as `slot` says it: 1 one job; 2 one node record in one hour; 4 shared; 5 the bill itself says
-- unused; 9 spread over several. In: charges, focus_origin, resource. Out: focus_line (bill line), a view. what: job or node record;
-- part: tells apart the lines of a rate card, which have one origin.
CREATE OR REPLACE TEMP VIEW focus_line AS
SELECT line.*, k, f, line.origin_row AS r, sole AS what,
    CASE
        WHEN unused THEN 5
        WHEN estimate THEN 9
        WHEN route IS NULL THEN 4
        WHEN route = 1 AND sole IS NOT NULL THEN 1
        WHEN route = 2 AND h = last_h AND sole IS NOT NULL AND us < until * 1000000 AND last_us > since * 1000000 THEN 2
        ELSE 9
    END AS class,
    CASE WHEN estimate THEN resource_name || '@' || us ELSE '' END AS part
FROM (
    SELECT *, epoch_us(charge_period_start) AS us,
        greatest(epoch_us(charge_period_end), epoch_us(charge_period_start) + 1) AS last_us,
        epoch_us(charge_period_start) // 3600000000 AS h,
        (greatest(epoch_us(charge_period_end), epoch_us(charge_period_start) + 1) - 1) // 3600000000 AS last_h,
        basis = 'estimated' AND source IN ({estimates}) AS estimate,
        COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false) AS unused
    FROM charges
) AS line
JOIN focus_origin USING (source, billing_period, billing_currency, basis, origin_file)
LEFT JOIN resource USING (resource_id)
