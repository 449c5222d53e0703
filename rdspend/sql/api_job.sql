-- Jobs of a period for notebooks, or parts of one that is cut, dearest first. In: job_money, jobs. Out: api_job (job x part).
CREATE OR REPLACE TEMP TABLE api_job AS
SELECT m.job_key, m.part, m.name, m.team, m.cluster, m.category, m.stage, NULLIF(m.role, '') AS role, NULLIF(m.release, '') AS release, m.outcome, m.basis, $currency AS currency,
    CAST(CAST(m.effective AS DECIMAL(28, 0)) * 0.000000001 AS DECIMAL(38, 9)) AS cost,
    CAST(CAST(m.billed AS DECIMAL(28, 0)) * 0.000000001 AS DECIMAL(38, 9)) AS billed_cost,
    CAST(CAST(m.gpu_part_seconds * 1000000 // {gpu_hour} AS DECIMAL(28, 0)) * 0.000001 AS DECIMAL(38, 6)) AS gpu_hours,
    j.submit_time, j.start_time, j.end_time
FROM job_money AS m JOIN jobs AS j USING (job_key)
ORDER BY m.effective DESC, m.gpu_part_seconds DESC, m.job_key, m.part
