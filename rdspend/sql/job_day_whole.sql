-- What jobs take on whole node days: each hour's money x seconds held x share, cut to whole nanos hour by hour.
-- In: piece_day, whole_day. Out: job_day_whole (key x job x day). Where billed and effective money are the same hour by hour, one sum is both;
-- the other days' billed money comes from job_day_billed.
CREATE OR REPLACE TEMP TABLE job_day_whole AS
SELECT k, j, d, CAST(sum(taken) AS BIGINT) AS effective, CAST(sum(CASE WHEN differs THEN 0 ELSE taken END) AS BIGINT) AS billed
FROM (
    SELECT k, j, d, differs, {taken} AS taken
    FROM piece_day JOIN whole_day USING (n, d)
)
GROUP BY k, j, d
