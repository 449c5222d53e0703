-- The same by node hour. In: focus_piece. Out: focus_hour (key x node record x hour).
CREATE OR REPLACE TEMP TABLE focus_hour AS
SELECT k, n, h, CAST(sum(effective) AS BIGINT) AS effective, CAST(sum(billed) AS BIGINT) AS billed, count(*) AS pieces
FROM focus_piece GROUP BY k, n, h
