-- Where several lines share a node hour: what the lines before this one make. In: focus_piece, focus_hour.
-- Out: focus_offset (line x node record x hour). The last line of the hour takes what the others left of each job's part.
CREATE OR REPLACE TEMP TABLE focus_offset AS
SELECT l, k, f, r, n, h, CAST(e_upto - effective AS BIGINT) AS e_before, CAST(b_upto - billed AS BIGINT) AS b_before,
    effective, billed, number = pieces AS last
FROM (
    SELECT p.*, t.pieces, sum(p.effective) OVER inside AS e_upto, sum(p.billed) OVER inside AS b_upto, row_number() OVER inside AS number
    FROM focus_piece AS p JOIN focus_hour AS t USING (k, n, h)
    WHERE t.pieces > 1 OR l IS NOT NULL
    WINDOW inside AS (PARTITION BY k, n, h ORDER BY f, r, l ROWS UNBOUNDED PRECEDING)
)
