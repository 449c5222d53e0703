-- Lines that need spreading, one by one (for an explanation: every line). In: charges (bill line), resource, line_key. Out: spread_line (bill line).
CREATE OR REPLACE TEMP TABLE spread_line AS
WITH line AS (
    SELECT
        row_number() OVER () AS l,
        {key} AS k, origin_file, origin_row,
        epoch_us(charge_period_start) AS us,
        greatest(epoch_us(charge_period_end), epoch_us(charge_period_start) + 1) AS last_us,
        us // 3600000000 AS h,
        (last_us - 1) // 3600000000 AS last_h,
        epoch_us(charge_period_start) // 1000000 AS s,
        greatest(epoch_us(charge_period_end) // 1000000, epoch_us(charge_period_start) // 1000000 + 1) AS e,
        resource_id, COALESCE(service_name, '') AS service, effective_cost_nanos AS effective, billed_cost_nanos AS billed,
        COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false) AS unused
    FROM {charges} AS bill
)
SELECT l, k, origin_file, origin_row, s, e, resource_id, service, effective, billed,
    CASE WHEN unused THEN 5 ELSE COALESCE(route, 4) END AS class
FROM line LEFT JOIN resource USING (resource_id)
WHERE {which}
