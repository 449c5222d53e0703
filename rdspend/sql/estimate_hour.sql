-- Estimated charges by hour. In: estimate (charge), line_key. Out: estimate_hour (key x node record x hour). Differences of cut running
-- totals, as for a spread line.
CREATE OR REPLACE TEMP TABLE estimate_hour AS
WITH hourly AS (
    SELECT row_number() OVER () AS l, n, s, e, cost, source, billing_period, currency FROM estimate
),
weighed AS (
    SELECT l, n, cost, source, billing_period, currency, h, least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS w
    FROM (SELECT *, CAST(unnest(range(CAST(s AS BIGINT) // 3600, (CAST(e AS BIGINT) - 1) // 3600 + 1)) AS BIGINT) AS h FROM hourly)
),
running AS (
    SELECT *,
        CAST(sum(w) OVER (PARTITION BY l ORDER BY h ROWS UNBOUNDED PRECEDING) AS HUGEINT) AS upto,
        CAST(sum(w) OVER (PARTITION BY l) AS HUGEINT) AS whole
    FROM weighed
),
part AS (
    SELECT n, h, source, billing_period, currency,
        CAST(cost * upto // whole - cost * (upto - w) // whole AS BIGINT) AS part
    FROM running
)
SELECT k, n, CAST(h AS INTEGER) AS h, CAST(sum(part) AS BIGINT) AS effective, CAST(sum(part) AS BIGINT) AS billed
FROM part JOIN (SELECT k, source, billing_period, billing_currency AS currency FROM line_key WHERE basis = 'estimated') AS key
    USING (source, billing_period, currency)
GROUP BY k, n, h
