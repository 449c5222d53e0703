-- The one pass over the bill. In: charges (bill line), resource, line_key. Out: slot (key x class x what x hour or day x service).
-- class 1: to one job on one day; 2: to one node record in one hour; 4: shared on one day; 5: the bill itself says unused, one day;
-- 9: lines that span several hours, days, records or runs: only counted here, spread one by one in spread_line.
CREATE OR REPLACE TEMP TABLE slot AS
WITH line AS (
    SELECT
        {key} AS k,
        epoch_us(charge_period_start) // 1000000 AS s,
        greatest(epoch_us(charge_period_end) // 1000000, epoch_us(charge_period_start) // 1000000 + 1) AS e,
        resource_id, service_name, effective_cost_nanos, billed_cost_nanos,
        COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false) AS unused
    FROM {charges} AS bill
),
routed AS (
    SELECT k, s, e, route, sole, service_name, effective_cost_nanos, billed_cost_nanos, unused,
        CASE
            WHEN (unused OR route IS NULL OR (route = 1 AND sole IS NOT NULL)) AND s // 86400 = (e - 1) // 86400
                THEN CASE WHEN unused THEN 5 WHEN route IS NULL THEN 4 ELSE 1 END
            WHEN NOT unused AND route = 2 AND sole IS NOT NULL AND s // 3600 = (e - 1) // 3600 THEN 2
            ELSE 9
        END AS class
    FROM line LEFT JOIN resource USING (resource_id)
)
SELECT
    k, CAST(class AS TINYINT) AS class,
    CASE WHEN class IN (1, 2) THEN sole END AS what,
    CAST(CASE class WHEN 2 THEN s // 3600 WHEN 9 THEN NULL ELSE s // 86400 END AS INTEGER) AS slot_at,
    CASE WHEN class IN (4, 5) THEN COALESCE(service_name, '') END AS service,
    CAST(sum(effective_cost_nanos) AS BIGINT) AS effective,
    CAST(sum(billed_cost_nanos) AS BIGINT) AS billed,
    count(*) AS lines
FROM routed
GROUP BY ALL
