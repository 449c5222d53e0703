-- Jobs of which the ledger's tags say something else than the same tagger says now. In: told_tag, filed_tag (tags), every_job.
-- Out: unsettled_job.
CREATE OR REPLACE TEMP TABLE unsettled_job AS
WITH moved AS (
    SELECT job_key FROM (SELECT {columns} FROM told_tag EXCEPT ALL SELECT {columns} FROM filed_tag)
    UNION SELECT job_key FROM (SELECT {columns} FROM filed_tag EXCEPT ALL SELECT {columns} FROM told_tag)
)
SELECT job_key, CASE WHEN end_day = 'open' THEN 'open' ELSE left(end_day, 7) END AS end_month,
    strftime(timezone('UTC', start_time), '%Y-%m') AS start_month
FROM (SELECT job_key, end_day, start_time FROM every_job) SEMI JOIN moved USING (job_key)
