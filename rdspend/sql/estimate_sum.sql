-- What the estimates say: their side of the closing. In: estimate, line_key. Out: rows of charge_sum.
INSERT INTO charge_sum
SELECT k, CAST(sum(cost) AS HUGEINT), CAST(sum(cost) AS HUGEINT)
FROM estimate
JOIN (SELECT k, source, billing_period, billing_currency AS currency FROM line_key WHERE basis = 'estimated') AS key
    USING (source, billing_period, currency)
GROUP BY k
