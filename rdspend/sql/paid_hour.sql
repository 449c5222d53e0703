-- Hours of node records that a bill pays for: usage or a purchase, of the node or its pool. A tax or a credit alone pays for nothing.
-- In: charges, other_charges (bill line), resource, span. Out: paid_hour (node record x hour).
CREATE OR REPLACE TEMP TABLE paid_hour AS
WITH line AS (
    SELECT DISTINCT resource_id, epoch_us(charge_period_start) // 1000000 AS s,
        greatest(epoch_us(charge_period_end) // 1000000, epoch_us(charge_period_start) // 1000000 + 1) AS e
    FROM (
        SELECT resource_id, charge_period_start, charge_period_end, charge_category, commitment_discount_status, capacity_reservation_status
        FROM charges
        UNION ALL
        SELECT resource_id, charge_period_start, charge_period_end, charge_category, commitment_discount_status, capacity_reservation_status
        FROM other_charges
    )
    WHERE resource_id IS NOT NULL AND charge_category IN ('Usage', 'Purchase')
        AND NOT (COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false))
),
owner AS (
    SELECT r.resource_id, p.n, p.s, p.e FROM resource AS r JOIN span AS p ON p.resource_id = r.resource_id WHERE r.route = 2
    UNION ALL
    SELECT r.resource_id, p.n, p.s, p.e FROM resource AS r JOIN span AS p ON p.pool = r.resource_id
    WHERE r.route = 3 AND COALESCE(p.pool_weight, 1) > 0
),
held AS (
    SELECT n, greatest(line.s, owner.s, $first) AS s, least(line.e, owner.e, $last) AS e
    FROM line JOIN owner USING (resource_id)
)
SELECT DISTINCT n, CAST(h AS INTEGER) AS h FROM (SELECT n, unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS h FROM held WHERE s < e)
