-- Hours of node records that a bill pays for: usage or a purchase, of the node or its pool. A tax or a credit alone pays for nothing.
-- flags: 1 some line covers its first second, 2 some line its last, 4 a line of another billing month.
-- In: charges, other_charges (bill line), resource, span. Out: paid_hour (node record x hour).
CREATE OR REPLACE TEMP TABLE paid_hour AS
WITH line AS (
    SELECT DISTINCT resource_id, epoch_us(charge_period_start) // 1000000 AS s,
        greatest(epoch_us(charge_period_end) // 1000000, epoch_us(charge_period_start) // 1000000 + 1) AS e, elsewhere
    FROM (
        SELECT resource_id, charge_period_start, charge_period_end, charge_category, commitment_discount_status,
            capacity_reservation_status, 0 AS elsewhere
        FROM charges
        UNION ALL
        SELECT resource_id, charge_period_start, charge_period_end, charge_category, commitment_discount_status,
            capacity_reservation_status, 4 AS elsewhere
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
    SELECT n, greatest(line.s, owner.s, $first) AS s, least(line.e, owner.e, $last) AS e, elsewhere
    FROM line JOIN owner USING (resource_id)
)
SELECT n, CAST(h AS INTEGER) AS h,
    bit_or(CAST(elsewhere + CASE WHEN s <= h * 3600 THEN 1 ELSE 0 END + CASE WHEN e >= (h + 1) * 3600 THEN 2 ELSE 0 END AS TINYINT)) AS flags
FROM (SELECT n, s, e, elsewhere, unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS h FROM held WHERE s < e)
GROUP BY 1, 2
