-- Whole hours of the month that have a bill and a price, both in nanos. In: node_day, line_key, paid_hour, hour_price, share_piece.
-- Out: compared_hour (node record x hour), a view. why: 0 where the two can be compared, 1 the estimate is zero, 2 another currency,
-- 3 two prices. Joined by the day: twenty-four times fewer rows than hours.
CREATE OR REPLACE TEMP VIEW compared_hour AS
WITH paid_day AS (
    -- Bits of the day's hours: those that lines of this billing month alone pay for, from the first second to the last.
    SELECT n, h // 24 AS d, bit_or(1 << (h % 24)) AS hours FROM paid_hour WHERE flags = 3 GROUP BY 1, 2
),
bill_day AS (
    {bill}
),
priced_day AS (
    SELECT b.n, b.d, p.kind, p.estimate, p.price, {all_hours},
        CASE WHEN p.prices > 1 THEN 3 WHEN b.currency IS DISTINCT FROM p.currency THEN 2 ELSE 0 END AS why,
        paid_day.hours & ((1 << least(p.last_h - b.d * 24, 24)) - (1 << greatest(p.first_h - b.d * 24, 0))) AS hours
    FROM bill_day AS b JOIN paid_day ON paid_day.n = b.n AND paid_day.d = b.d
    JOIN hour_price AS p ON p.n = b.n AND p.first_h < (b.d + 1) * 24 AND b.d * 24 < p.last_h
),
hourly AS (
    SELECT n, d * 24 + i AS h, kind, estimate, price, why, {effective} AS bill
    FROM (
        SELECT n, d, kind, estimate, price, why, hours, unnest([{all_hours}]) AS v, CAST(unnest(range(24)) AS INTEGER) AS i
        FROM priced_day WHERE hours > 0
    )
    WHERE v IS NOT NULL AND ((hours >> i) & 1) = 1
),
held AS (
    SELECT n, h, sum(CAST(gpu_parts AS HUGEINT) * (least(e, (h + 1) * 3600) - greatest(s, h * 3600))) AS part_seconds
    FROM (SELECT n, s, e, gpu_parts, CAST(unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS INTEGER) AS h FROM share_piece WHERE unknown)
    GROUP BY 1, 2
),
estimated AS (
    SELECT x.n, x.h, x.kind, x.why, x.bill,
        COALESCE(estimate, CAST(x.price * COALESCE(held.part_seconds, 0) // (3600 * {gpu_parts}) AS BIGINT)) AS estimate
    FROM hourly AS x LEFT JOIN held ON held.n = x.n AND held.h = x.h
)
SELECT n, h, kind, estimate, bill, CAST(CASE WHEN why = 0 AND estimate = 0 THEN 1 ELSE why END AS TINYINT) AS why FROM estimated
