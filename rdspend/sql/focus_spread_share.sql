-- The parts of spread lines, as running totals from 0 to 1 like focus_share's. In: focus_parts, spread_day, spread_line, focus_origin,
-- focus_estimate, focus_cut. Out: focus_spread_share (line). A part's share is that of the effective cost, else of the billed, else of node hours.
CREATE OR REPLACE TEMP TABLE focus_spread_share AS
WITH line AS (
    SELECT p.l, o.f, p.origin_row AS r, '' AS part FROM spread_line AS p JOIN focus_origin AS o ON o.k = p.k AND o.origin_file = p.origin_file
    UNION ALL
    SELECT DISTINCT l, f, r, part FROM focus_estimate
),
taken AS (
    SELECT l, j, CAST(sum(effective) AS BIGINT) AS e, CAST(sum(billed) AS BIGINT) AS b, CAST(sum(shares) AS HUGEINT) AS w FROM (
        SELECT l, j, effective, billed, shares FROM focus_parts
        UNION ALL
        SELECT l, COALESCE(c.j, s.j),
            CASE WHEN c.j IS NULL THEN effective ELSE effective * high // whole - effective * low // whole END,
            CASE WHEN c.j IS NULL THEN billed ELSE billed * high // whole - billed * low // whole END,
            CASE WHEN c.j IS NULL THEN {billion} ELSE {billion} * high // whole - {billion} * low // whole END
        FROM spread_day AS s LEFT JOIN focus_cut AS c ON c.of_j = s.j AND c.d = s.d
    ) GROUP BY l, j
),
weighed AS (
    SELECT l, j, e, b, CAST(abs(CASE WHEN whole_e <> 0 THEN e WHEN whole_b <> 0 THEN b ELSE w END) AS HUGEINT) AS w
    FROM (SELECT *, sum(e) OVER of_line AS whole_e, sum(b) OVER of_line AS whole_b FROM taken WINDOW of_line AS (PARTITION BY l))
),
running AS (
    SELECT l, j, e, b, CAST(sum(e) OVER upto AS BIGINT) AS e1, CAST(sum(b) OVER upto AS BIGINT) AS b1, w,
        CAST(sum(w) OVER upto AS HUGEINT) AS w1, CAST(sum(w) OVER (PARTITION BY l) AS HUGEINT) AS whole
    FROM weighed
    WINDOW upto AS (PARTITION BY l ORDER BY j NULLS LAST ROWS UNBOUNDED PRECEDING)
)
SELECT f, r, part,
    list({j: CAST(j AS INTEGER),
        r0: CAST({billion} * (w1 - w) // whole AS BIGINT), r1: CAST({billion} * w1 // whole AS BIGINT),
        e0: e1 - e, e1: e1, b0: b1 - b, b1: b1} ORDER BY j NULLS LAST) AS parts
FROM running JOIN line USING (l)
GROUP BY f, r, part
