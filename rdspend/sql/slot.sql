-- The one pass over the bill. In: charges (bill line), resource, line_key. Out: slot (key x class x what x day x service).
-- class 1: to one job on one day; 2: to one node record in one hour; 4: shared on one day; 5: the bill itself says unused, one day;
-- 9: lines that span several hours, days, records or runs: only counted here, spread one by one in spread_line.
-- Money is packed: effective + (billed - effective) x 2^64 in one HUGEINT, so that one sum adds both. v is the whole, v0 to v23 the
-- hours of class 2; null: no line names the hour.
CREATE OR REPLACE TEMP TABLE slot AS
WITH line AS (
    SELECT
        {key} AS k,
        epoch_us(charge_period_start) // 1000000 AS s,
        greatest(epoch_us(charge_period_end) // 1000000, epoch_us(charge_period_start) // 1000000 + 1) AS e,
        resource_id, service_name,
        {packed} AS v,
        COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false) AS unused
    FROM {charges} AS bill
),
routed AS (
    SELECT k, s, sole, service_name, v,
        CASE
            WHEN route = 2 AND NOT unused AND sole IS NOT NULL AND s // 3600 = (e - 1) // 3600 AND s < until AND e > since THEN 2
            WHEN (unused OR route IS NULL OR (route = 1 AND sole IS NOT NULL)) AND s // 86400 = (e - 1) // 86400
                THEN CASE WHEN unused THEN 5 WHEN route IS NULL THEN 4 ELSE 1 END
            ELSE 9
        END AS class
    FROM line LEFT JOIN resource USING (resource_id)
),
slotted AS (
    SELECT k, CAST(class AS TINYINT) AS class, CASE WHEN class <= 2 THEN sole END AS what,
        CASE WHEN class <> 9 THEN CAST(s // 86400 AS INTEGER) END AS d,
        CASE WHEN class = 2 THEN CAST(s // 3600 % 24 AS TINYINT) END AS h,
        CASE WHEN class IN (4, 5) THEN COALESCE(service_name, '') END AS service, v
    FROM routed
)
SELECT k, class, what, d, service, sum(v) AS v,
    {hours}
FROM slotted
GROUP BY k, class, what, d, service
