-- Bill lines that paid for one job, with the part of each. In: explained_hour, spread_day, spread_line, estimate_line, line_key.
WITH part AS (
    SELECT l, k, count(*) AS hours, sum(taken) AS part, sum(taken_billed) AS billed_part, sum(effective) AS in_hours,
        min(held) AS held, max(held) AS held_most, min(num) AS num, max(num) AS num_most, min(whole) AS whole, max(whole) AS whole_most,
        max(pieces) AS pieces
    FROM explained_hour GROUP BY l, k
    UNION ALL
    SELECT l, k, 0, sum(effective), sum(billed), sum(effective), 0, 0, 0, 0, 0, 0, 0 FROM spread_day WHERE j = $j GROUP BY l, k
),
line AS (
    SELECT l, origin_file, origin_row, s, e, resource_id AS resource, effective AS cost FROM spread_line
    UNION ALL
    SELECT l, origin_file, origin_row, s, e, resource_name, cost FROM estimate_line
)
SELECT key.source, line.origin_file, line.origin_row, key.basis, COALESCE(line.resource, '') AS resource, line.s, line.e, line.cost,
    part.part, part.billed_part, part.hours, part.in_hours, part.held, part.held_most, part.num, part.num_most, part.whole,
    part.whole_most, part.pieces
FROM part JOIN line USING (l) JOIN line_key AS key ON key.k = part.k
WHERE key.billing_currency = $currency AND (part.part <> 0 OR part.billed_part <> 0)
ORDER BY line.s, line.origin_file, line.origin_row, line.resource
