-- What may never be added up with anything else. In: charges (bill line). Out: line_key (source x billing period x currency x basis).
CREATE OR REPLACE TEMP TABLE line_key AS
SELECT CAST(row_number() OVER (ORDER BY source, billing_period, billing_currency, basis) AS INTEGER) AS k, *
FROM (SELECT DISTINCT source, billing_period, billing_currency, basis FROM charges)
