-- The one pass over the bill. In: charges (bill line), resource, line_key. Out: slot (key x class x what x day x service).
-- class 1: to one job on one day; 2: to one node record in one hour; 4: shared on one day; 5: the bill itself says unused, one day;
-- 9: lines that span several hours, days, records or runs: only counted here, spread one by one in spread_line.
-- Money is packed: effective + (billed - effective) x 2^64 in one HUGEINT, so that one sum adds both. v is the whole, v0 to v23 the
-- hours of class 2; null: no line names the hour.
CREATE OR REPLACE TEMP TABLE slot AS
WITH line AS (
    SELECT
        {key} AS k,
        epoch_us(charge_period_start) AS s,
        greatest(epoch_us(charge_period_end), epoch_us(charge_period_start) + 1) AS e,
        resource_id, service_name,
        {packed} AS v,
        COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false) AS unused
    FROM {charges} AS bill
),
hourly AS (
    SELECT k, s, e, s // 3600000000 AS h, (e - 1) // 3600000000 AS last_h, resource_id, service_name, v, unused FROM line
),
routed AS (
    SELECT k, h, sole, service_name, v,
        CASE
            WHEN route = 2 AND h = last_h AND sole IS NOT NULL AND NOT unused AND s < until * 1000000 AND e > since * 1000000 THEN 2
            WHEN (unused OR route IS NULL OR (route = 1 AND sole IS NOT NULL)) AND h // 24 = last_h // 24
                THEN CASE WHEN unused THEN 5 WHEN route IS NULL THEN 4 ELSE 1 END
            ELSE 9
        END AS class
    FROM hourly LEFT JOIN resource USING (resource_id)
),
slotted AS (
    -- Few and narrow keys: they are hashed once a line. Day and class in one number, the key only where there are several.
    SELECT k, CASE WHEN class <= 2 THEN sole END AS what,
        CAST(CASE WHEN class = 9 THEN 9 ELSE h // 24 * 16 + class END AS INTEGER) AS day_class,
        CASE WHEN class = 2 THEN CAST(h % 24 AS TINYINT) END AS h,
        CASE WHEN class IN (4, 5) THEN COALESCE(service_name, '') END AS service, v
    FROM routed
)
SELECT {key} AS k, CAST(day_class & 15 AS TINYINT) AS class, what, day_class >> 4 AS d, service, sum(v) AS v,
    {hours}
FROM slotted
GROUP BY {key_too}what, day_class, service
