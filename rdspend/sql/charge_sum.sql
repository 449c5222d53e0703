-- What the charges say, straight from them and not through any join: one side of the closing. In: charges. Out: charge_sum (key).
CREATE OR REPLACE TEMP TABLE charge_sum AS
SELECT {key} AS k, CAST(sum(effective_cost_nanos) AS HUGEINT) AS effective, CAST(sum(billed_cost_nanos) AS HUGEINT) AS billed
FROM {charges} AS bill
GROUP BY 1
