-- Where lines come from, as integers. In: charges, line_key. Out: focus_origin (key x file).
CREATE OR REPLACE TEMP TABLE focus_origin AS
SELECT CAST(row_number() OVER (ORDER BY k, origin_file) AS INTEGER) AS f, k, source, billing_period, billing_currency, basis, origin_file
FROM (SELECT DISTINCT k, source, billing_period, billing_currency, basis, origin_file
    FROM charges JOIN line_key USING (source, billing_period, billing_currency, basis))
