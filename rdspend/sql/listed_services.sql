-- Shared or bill-idle money by service, dearest first, with the three largest bill rows of each. In: attributions, charges, nodes, jobs.
WITH owned AS (
    SELECT resource_id FROM nodes WHERE resource_id IS NOT NULL
    UNION ALL SELECT pool FROM nodes WHERE pool IS NOT NULL
    UNION ALL SELECT resource_id FROM jobs WHERE resource_id IS NOT NULL
),
line AS (
    SELECT COALESCE(service_name, '') AS service, effective_cost_nanos,
        origin_file || ':' || origin_row || ' (' || COALESCE(charge_description, charge_category) || ')' AS words,
        row_number() OVER (PARTITION BY service_name ORDER BY effective_cost_nanos DESC, origin_file, origin_row) AS place
    FROM charges
    WHERE billing_currency = $currency AND CASE
        WHEN COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false)
            THEN $bucket = 'bill_idle'
        ELSE $bucket = 'shared' AND COALESCE(resource_id, '') NOT IN (SELECT resource_id FROM owned)
    END
),
named AS (
    SELECT service, string_agg(words, '; ' ORDER BY place) AS lines FROM line WHERE place <= 3 GROUP BY service
),
summed AS (
    SELECT COALESCE(service, '') AS service, sum(effective_cost_nanos) AS cost
    FROM attributions WHERE bucket = $bucket AND billing_currency = $currency GROUP BY 1
)
SELECT CASE WHEN service = '' THEN '(no service)' ELSE service END AS label, cost, 'largest rows: ' || COALESCE(lines, '') AS detail,
    count(*) OVER () AS parts, sum(cost) OVER () AS total
FROM summed LEFT JOIN named USING (service)
ORDER BY cost DESC, label
LIMIT $limit
