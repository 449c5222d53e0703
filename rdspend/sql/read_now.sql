-- What the jobs of the months read anew say, as the ledger keeps it; a row of nobody for each month, so that one without any counts as
-- read. In: said_file, told_job. Out: read_now.
CREATE OR REPLACE TEMP TABLE read_now AS
WITH said AS (
    SELECT CASE j.end_day WHEN 'open' THEN 'open' ELSE left(j.end_day, 7) END AS end_month, job_key, use, option, path, step
    FROM said_file JOIN (SELECT job_key, end_day FROM told_job) AS j USING (job_key)
    UNION ALL
    SELECT end_month, '', 'none', '', NULL, NULL FROM ({months}) AS months(end_month)
)
SELECT *, CASE end_month {digests} END AS read_from FROM said
