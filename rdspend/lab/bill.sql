-- Grain out: one line of the SYNTHETIC bill. Costs are whole units of 1e-11 of the currency (DECIMAL has no floor division),
-- `places` says how many decimals the line prints. In: span (nodes of the month), macros of month.py.
CREATE TEMP VIEW hour AS
SELECT first_second() + 3600 * i AS h FROM range((last_second() - first_second()) // 3600) AS r(i);

CREATE TEMP VIEW day AS
SELECT first_second() + 86400 * i AS d, i FROM range((last_second() - first_second()) // 86400) AS r(i);

-- Grain out: a node and an hour in which it was up; a few are missing from the bill. Numbers only, in the bill's order.
CREATE TEMP TABLE up AS
SELECT h, span_id, least(h + 3600, stop) - greatest(h, start) AS up_seconds
FROM hour JOIN span ON h < stop AND h + 3600 > start
WHERE mix(mix(span_id * 8191 + seed()) + h // 3600) % 250 <> 0
ORDER BY h, span_id;

-- Grain out: an hour, and what of the commitment nobody used in it.
CREATE TEMP TABLE committed_hour AS
SELECT h, promised - coalesce(used, 0) AS unused_units
FROM hour CROSS JOIN (SELECT sum(commitment_units) AS promised FROM span WHERE committed)
LEFT JOIN (
    SELECT h, sum(commitment_units) AS used FROM up JOIN span USING (span_id)
    WHERE committed AND up_seconds = 3600 GROUP BY h
) USING (h)
ORDER BY h;

CREATE TEMP VIEW node_cost AS
WITH node_line AS (
    SELECT up.up_seconds, up.h, span.*, k,
        -- With several lines a node-hour the first carries what the others leave.
        CASE WHEN k = 0 THEN contracted_units - (lines_per_node_hour() - 1) * (contracted_units // (8 * lines_per_node_hour()))
             ELSE contracted_units // (8 * lines_per_node_hour()) END * up_seconds // 3600 AS contracted,
        CASE WHEN k = 0 THEN commitment_units - (lines_per_node_hour() - 1) * (commitment_units // (8 * lines_per_node_hour()))
             ELSE commitment_units // (8 * lines_per_node_hour()) END * up_seconds // 3600 AS commitment,
        CASE WHEN k = 0 THEN list_units - (lines_per_node_hour() - 1) * (list_units // (8 * lines_per_node_hour()))
             ELSE list_units // (8 * lines_per_node_hour()) END * up_seconds // 3600 AS listed
    FROM up JOIN span USING (span_id) CROSS JOIN range(lines_per_node_hour()) AS r(k)
)
SELECT
    'Usage' AS category, NULL AS class, 'Usage-Based' AS frequency,
    CASE WHEN k = 0 THEN instance_type || ' node, per hour' ELSE instance_type || ' part ' || k || ', per hour' END AS description,
    greatest(h, first_second()) AS start_s, least(h + 3600, last_second()) AS stop_s,
    CASE WHEN committed AND up_seconds = 3600 THEN 0 ELSE contracted END AS billed,
    CASE WHEN committed AND up_seconds = 3600 THEN commitment ELSE contracted END AS effective,
    contracted, listed, 11 AS places,
    'Compute' AS service_category, 'Virtual Machines' AS service_subcategory, 'Synthetic GPU Compute' AS service,
    resource_id, node AS resource_name, 'Virtual Machine' AS resource_type,
    'SKU-' || upper(instance_type) || '-' || k AS sku, instance_type,
    CASE WHEN committed AND up_seconds = 3600 THEN 'Committed' ELSE 'Standard' END AS pricing_category,
    up_seconds // 36 AS hundredths, 'Hours' AS unit,
    CASE WHEN committed AND up_seconds = 3600 THEN 'syn-commitment-1' END AS commitment_id,
    CASE WHEN committed AND up_seconds = 3600 THEN 'Used' END AS commitment_status,
    NULL AS reservation_id, NULL AS reservation_status, 'research' AS sub_account,
    '{"cluster": "syn-lab", "synthetic": "true"}' AS tags
FROM node_line;

-- Grain out: a line that is not an hour of a node.
CREATE TEMP TABLE other_line AS
SELECT * FROM (
-- What the commitment promised and nobody used in that hour.
SELECT 'Usage', NULL, 'Recurring', 'Unused part of compute commitment', h, h + 3600, 0, unused_units, 0, 0, 11,
    'Compute', 'Virtual Machines', 'Synthetic GPU Compute', 'syn-commitment-1', 'Compute commitment 1', 'Commitment',
    'SKU-COMMITMENT', NULL, 'Committed', 100, 'Hours', 'syn-commitment-1', 'Unused', NULL, NULL, 'research', NULL
FROM committed_hour WHERE unused_units > 0
UNION ALL
-- Its purchase: billed now, effective cost nothing, because every used and unused hour carries its part.
SELECT 'Purchase', NULL, 'Recurring', 'Compute commitment, monthly fee', first_second(), last_second(),
    sum(commitment_units) * ((last_second() - first_second()) // 3600), 0, sum(commitment_units) * ((last_second() - first_second()) // 3600),
    sum(commitment_units) * ((last_second() - first_second()) // 3600), 11,
    'Compute', 'Virtual Machines', 'Synthetic GPU Compute', 'syn-commitment-1', 'Compute commitment 1', 'Commitment',
    'SKU-COMMITMENT', NULL, 'Standard', 100, 'Months', 'syn-commitment-1', NULL, NULL, NULL, 'research', NULL
FROM span WHERE committed HAVING count(*) > 0
UNION ALL
-- A capacity reservation that no node ever filled.
SELECT 'Usage', NULL, 'Usage-Based', 'Unused capacity reservation, h100', h, h + 3600, price_units('h100'), price_units('h100'),
    price_units('h100'), list_price_units('h100'), 11, 'Compute', 'Virtual Machines', 'Synthetic GPU Compute',
    'syn-reservation-1', 'Reservation 1', 'Capacity Reservation', 'SKU-SYN-H100-8-RESERVED', 'syn-h100-8', 'Standard', 100, 'Hours',
    NULL, NULL, 'syn-reservation-1', 'Unused', 'research', NULL
FROM hour WHERE mix(h // 3600 + seed() * 31) % 3 = 0
UNION ALL
SELECT 'Usage', NULL, 'Usage-Based', 'Object storage, ' || bucket, d, d + 86400, cost, cost, cost, cost * 10 // 9, 10,
    'Storage', 'Object Storage', 'Synthetic Object Storage', 'syn-bucket-' || bucket, bucket, 'Bucket', 'SKU-OBJECT', NULL,
    'Standard', 10000 * (1 + i % 7), 'GB', NULL, NULL, NULL, NULL, 'research', '{"bucket": "' || bucket || '", "synthetic": "true"}'
FROM (
    SELECT *, small_change(scale_units() // (60 * (1 + b)), i * 16 + b) // 10 * 10 AS cost
    FROM day CROSS JOIN (SELECT unnest(['checkpoints', 'corpora', 'datasets', 'logs', 'eval-outputs']) AS bucket, unnest(range(5)) AS b)
)
UNION ALL
SELECT 'Usage', NULL, 'Usage-Based', 'Parallel file system', h, h + 3600, cost, cost, cost, cost, 8,
    'Storage', 'File Storage', 'Synthetic File System', 'syn-fs-1', 'scratch', 'File System', 'SKU-FS', NULL,
    'Standard', 100, 'Hours', NULL, NULL, NULL, NULL, 'research', NULL
FROM (SELECT h, small_change(scale_units() // 900, h // 3600) // 1000 * 1000 AS cost FROM hour)
UNION ALL
SELECT 'Usage', NULL, 'Usage-Based', 'Network, ' || what, d, d + 86400, cost, cost, cost, cost, 6,
    'Networking', 'Other (Networking)', 'Synthetic Network', NULL, NULL, NULL, 'SKU-NET-' || upper(what), NULL,
    'Standard', 2500 * (1 + i % 5), 'GB', NULL, NULL, NULL, NULL, CASE WHEN what = 'egress' THEN 'product' ELSE 'research' END, NULL
FROM (
    SELECT *, small_change(scale_units() // 150, i * 4 + w) // 100000 * 100000 AS cost
    FROM day CROSS JOIN (SELECT unnest(['egress', 'interzone']) AS what, unnest(range(2)) AS w)
)
UNION ALL
SELECT 'Usage', NULL, 'Usage-Based', 'Head and login nodes', h, h + 3600, 812340000000, 812340000000, 812340000000, 812340000000, 6,
    'Compute', 'Virtual Machines', 'Synthetic GPU Compute', 'syn-i-head', 'head', 'Virtual Machine', 'SKU-HEAD', 'syn-c-64',
    'Standard', 100, 'Hours', NULL, NULL, NULL, NULL, 'research', NULL
FROM hour
UNION ALL
SELECT 'Usage', NULL, 'Recurring', 'Support plan', first_second(), last_second(), scale_units() // 2, scale_units() // 2,
    scale_units() // 2, scale_units() // 2, 11, 'Other', 'Other (Other)', 'Synthetic Support', NULL, NULL, NULL, 'SKU-SUPPORT', NULL,
    'Standard', 100, 'Months', NULL, NULL, NULL, NULL, 'research', NULL
UNION ALL
SELECT 'Tax', NULL, 'One-Time', 'Tax', first_second(), last_second(), scale_units() // 3 + 7, scale_units() // 3 + 7,
    scale_units() // 3 + 7, scale_units() // 3 + 7, 11, 'Other', 'Other (Other)', 'Synthetic Tax', NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'research', NULL
UNION ALL
-- A credit for everybody, one for a node that was down for half a day, and a correction of the month before.
SELECT 'Credit', NULL, 'One-Time', 'Research credit', first_second(), last_second(), -(scale_units() // 5 + 3), -(scale_units() // 5 + 3),
    -(scale_units() // 5 + 3), -(scale_units() // 5 + 3), 11, 'Other', 'Other (Other)', 'Synthetic Credits', NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'research', NULL
UNION ALL
SELECT 'Credit', NULL, 'One-Time', 'Service credit for an outage', first_second() + 6 * 86400, first_second() + 6 * 86400 + 43200,
    -(contracted_units * 12 // 10 + 1), -(contracted_units * 12 // 10 + 1), -(contracted_units * 12 // 10 + 1), -(contracted_units * 12 // 10 + 1), 11,
    'Compute', 'Virtual Machines', 'Synthetic GPU Compute', resource_id, node, 'Virtual Machine', NULL, instance_type,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'research', NULL
FROM span WHERE span_id = 0
UNION ALL
SELECT 'Usage', 'Correction', 'Usage-Based', 'Object storage, corrected', first_second() - 10 * 86400, first_second() - 9 * 86400,
    -1234567890, -1234567890, -1234567890, -1234567890, 10, 'Storage', 'Object Storage', 'Synthetic Object Storage',
    'syn-bucket-logs', 'logs', 'Bucket', 'SKU-OBJECT', NULL, 'Standard', NULL, NULL, NULL, NULL, NULL, NULL, 'research', NULL
) AS line(category, class, frequency, description, start_s, stop_s, billed, effective, contracted, listed, places,
    service_category, service_subcategory, service, resource_id, resource_name, resource_type, sku, instance_type,
    pricing_category, hundredths, unit, commitment_id, commitment_status, reservation_id, reservation_status, sub_account, tags)
ORDER BY ALL;

CREATE TEMP VIEW line AS SELECT * FROM node_cost UNION ALL SELECT * FROM other_line;
