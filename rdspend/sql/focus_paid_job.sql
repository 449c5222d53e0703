-- Jobs that took money, whatever its currency: cut_job asks for no more of job_sum than that. In: attributions. Out: job_sum (job).
CREATE OR REPLACE TEMP TABLE job_sum AS
SELECT DISTINCT job_key FROM attributions WHERE job_key IS NOT NULL
