-- The rate that each source has in force at the first instant of each day with money of another currency. In: original_attributions,
-- exchange_rates. Out: exchange_said (currency, day, source): the rate as text and as DECIMAL(38, 18).
CREATE OR REPLACE TEMP TABLE exchange_said AS
WITH needed AS (
    SELECT DISTINCT billing_currency AS currency, day, CAST(day || ' 00:00:00+00' AS TIMESTAMP WITH TIME ZONE) AS instant
    FROM original_attributions WHERE billing_currency <> {into}
),
newest AS (
    SELECT n.currency, n.day, n.instant, r.source, max(r.start_time) AS start_time
    FROM needed AS n JOIN exchange_rates AS r ON r.currency = n.currency AND r."into" = {into} AND r.start_time <= n.instant
    GROUP BY ALL
)
SELECT n.currency, n.day, n.source, r.origin_file, r.origin_row, r.rate, {exact} AS exact
FROM newest AS n JOIN exchange_rates AS r
    ON r.source = n.source AND r.currency = n.currency AND r."into" = {into} AND r.start_time = n.start_time
WHERE r.end_time IS NULL OR r.end_time > n.instant
