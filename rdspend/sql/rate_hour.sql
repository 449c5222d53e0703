-- The price of every hour a node was up and no bill pays for it. In: span, rate_span, paid_hour. Out: rate_hour (node record x hour).
CREATE OR REPLACE TEMP TABLE rate_hour AS
WITH up AS (
    SELECT n, h, greatest(s, h * 3600) AS s, least(e, (h + 1) * 3600) AS e FROM (
        SELECT n, s, e, CAST(unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS BIGINT) AS h
        FROM (SELECT n, greatest(s, $first) AS s, least(e, $last, $now) AS e FROM span)
        WHERE s < e
    ) AS hourly
    ANTI JOIN paid_hour ON paid_hour.n = hourly.n AND paid_hour.h = hourly.h
)
SELECT up.n, CAST(up.h AS INTEGER) AS h, up.s, up.e, r.source, r.rate, r.other_rate, r.prices
FROM up JOIN rate_span AS r ON r.n = up.n AND r.first_h <= up.h AND up.h < r.last_h
