-- What parts of spread lines the jobs and idle of the node hours took. In: focus_offset, focus_share. Out: rows of focus_parts
-- (line x job), one of each slice of hours; shares: the sum of their parts per billion.
INSERT INTO focus_parts
SELECT l, p.j,
    CAST(sum({effective}) AS BIGINT) AS effective, CAST(sum({billed}) AS BIGINT) AS billed, sum(CAST(p.r1 - p.r0 AS HUGEINT)) AS shares
FROM (
    SELECT l, o.effective AS effective_cost_nanos, o.billed AS billed_cost_nanos, e_before, b_before, last, unnest(parts) AS p
    FROM focus_offset AS o JOIN focus_share USING (k, n, h)
    WHERE l IS NOT NULL
)
GROUP BY l, p.j
