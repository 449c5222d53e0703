-- The same of billed money, for the days on which it differs. In: piece_day, whole_day_billed. Out: job_day_billed (key x job x day).
CREATE OR REPLACE TEMP TABLE job_day_billed AS
SELECT k, j, d, CAST(sum({taken}) AS BIGINT) AS billed
FROM piece_day JOIN whole_day_billed USING (n, d)
GROUP BY k, j, d
