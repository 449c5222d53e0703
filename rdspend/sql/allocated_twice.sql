-- Allocated charges and the charges they were made from: both have the same money. In: charges. Out: the two files, if any.
-- A charge without a resource can't be told from others; an origin may lack its SKU, and may stand in the same file.
SELECT part.origin_file AS allocated, origin.origin_file
FROM (
    SELECT DISTINCT origin_file, billing_account_id, sub_account_id, provider_name, service_name, resource_id,
        charge_period_start, charge_period_end, sku_id, charge_category
    FROM charges WHERE allocated_method_id IS NOT NULL AND resource_id IS NOT NULL
) AS part
JOIN charges AS origin
    ON origin.resource_id = part.resource_id
    AND origin.charge_period_start = part.charge_period_start
    AND origin.charge_period_end = part.charge_period_end
    AND origin.charge_category = part.charge_category
    AND origin.billing_account_id IS NOT DISTINCT FROM part.billing_account_id
    AND origin.sub_account_id IS NOT DISTINCT FROM part.sub_account_id
    AND origin.provider_name IS NOT DISTINCT FROM part.provider_name
    AND origin.service_name IS NOT DISTINCT FROM part.service_name
    AND (origin.sku_id = part.sku_id OR origin.sku_id IS NULL OR part.sku_id IS NULL)
WHERE origin.allocated_method_id IS NULL AND origin.charge_class IS NULL
ORDER BY ALL
LIMIT 1
