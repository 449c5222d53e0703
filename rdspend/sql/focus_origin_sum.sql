-- Origins whose rows do not add up to them, in groups of a thousand rows of a file: there must be none. In: charges, and the files that were written.
-- The differences in nanos, first one only.
WITH side AS (
    SELECT source, billing_currency, basis, origin_file, origin_row // {rows} AS block, {charged}
    FROM (SELECT *, basis = 'estimated' AND source IN ({estimates}) AS estimate FROM charges) GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT "x_SourceName", "BillingCurrency", "x_CostBasisCategory", "x_OriginFileName", "x_OriginRowNumber" // {rows}, {sums}
    FROM {written} GROUP BY 1, 2, 3, 4, 5
)
SELECT source, billing_currency, basis, origin_file, block, {differences}
FROM side GROUP BY 1, 2, 3, 4, 5
HAVING {unequal}
ORDER BY 1, 2, 3, 4, 5
LIMIT 1
