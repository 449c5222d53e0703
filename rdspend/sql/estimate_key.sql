-- Keys of estimated charges, after those of the bill. In: estimate, line_key. Out: rows of line_key.
INSERT INTO line_key
SELECT (SELECT COALESCE(max(k), 0) FROM line_key) + row_number() OVER (ORDER BY source, billing_period, currency), *
FROM (SELECT DISTINCT source, billing_period, currency, 'estimated' AS basis FROM estimate)
