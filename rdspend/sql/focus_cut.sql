-- What each part of a job that is cut takes of the job's money on a day: from low to high, out of whole, by the length of its span, as the
-- report cuts the day. A day outside of all spans is the last part's. In: focus_job, job_span. Out: focus_cut (part x day).
CREATE OR REPLACE TEMP TABLE focus_cut AS
WITH held AS (
    SELECT of_j, j, d, job_part, greatest(0, least(p.e, (d + 1) * {day}) - greatest(p.s, d * {day})) AS length
    FROM (
        SELECT *, CAST(unnest(range($first // {seconds_per_day}, ($last - 1) // {seconds_per_day} + 1)) AS BIGINT) AS d
        FROM focus_job WHERE job_part IS NOT NULL
    ) AS f
    JOIN job_span AS p ON p.job_key = f.job_key AND p.part = f.job_part
),
running AS (
    SELECT *, CAST(sum(length) OVER upto AS HUGEINT) AS upto, CAST(sum(length) OVER of_day AS HUGEINT) AS whole,
        job_part = max(job_part) OVER of_day AS last
    FROM held
    WINDOW upto AS (PARTITION BY of_j, d ORDER BY job_part), of_day AS (PARTITION BY of_j, d)
)
SELECT of_j, j, d, job_part = 0 AS first,
    CASE WHEN whole > 0 THEN upto - length ELSE 0 END AS low,
    CASE WHEN whole > 0 THEN upto WHEN last THEN 1 ELSE 0 END AS high,
    greatest(whole, 1) AS whole
FROM running
