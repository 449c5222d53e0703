-- An allocated file beside the file it was made from: both have the same money. In: charges. Out: the two files, if any.
SELECT part.origin_file AS allocated, origin.origin_file
FROM (
    SELECT DISTINCT origin_file, billing_account_id, resource_id, charge_period_start, charge_period_end, sku_id, charge_category
    FROM charges WHERE allocated_method_id IS NOT NULL
) AS part
JOIN charges AS origin
    ON origin.billing_account_id IS NOT DISTINCT FROM part.billing_account_id
    AND origin.resource_id IS NOT DISTINCT FROM part.resource_id
    AND origin.charge_period_start = part.charge_period_start
    AND origin.charge_period_end = part.charge_period_end
    AND origin.sku_id IS NOT DISTINCT FROM part.sku_id
    AND origin.charge_category = part.charge_category
WHERE origin.allocated_method_id IS NULL AND origin.charge_class IS NULL AND origin.origin_file <> part.origin_file
ORDER BY ALL
LIMIT 1
