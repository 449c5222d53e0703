-- What jobs take, by day. In: job_day_whole, job_day_billed, job_day_ragged. Out: job_day (key x job x day).
CREATE OR REPLACE TEMP TABLE job_day AS
SELECT k, j, d, CAST(sum(effective) AS BIGINT) AS effective, CAST(sum(billed) AS BIGINT) AS billed FROM (
    {parts}
)
GROUP BY k, j, d
