-- What jobs take in ragged hours. In: ragged_piece, ragged_hour. Out: job_day_ragged (key x job x day).
CREATE OR REPLACE TEMP TABLE job_day_ragged AS
SELECT k, j, h // 24 AS d,
    CAST(sum((effective * CAST(held AS HUGEINT) * num) // whole) AS BIGINT) AS effective,
    CAST(sum((billed * CAST(held AS HUGEINT) * num) // whole) AS BIGINT) AS billed
FROM (
    SELECT r.k, p.j, r.h, r.effective, r.billed, p.held, p.num, CASE WHEN r.unknown THEN p.den ELSE CAST(r.up AS HUGEINT) * p.den END AS whole
    FROM ragged_piece AS p JOIN ragged_hour AS r USING (n, h)
)
WHERE whole > 0
GROUP BY k, j, h // 24
