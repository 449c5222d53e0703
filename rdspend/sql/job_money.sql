-- Money and GPU time of each job of the period, or of each part of one that is cut, and what the policy counts it as. Effective, billed and
-- GPU time are with what the job bears of idle and shared, where the policy spreads those; borne, borne_billed and borne_parts say that alone.
-- In: job_part, jobs (all of the period), and borne where the policy spreads. Out: job_money (job x part).
CREATE OR REPLACE TEMP TABLE job_money AS
SELECT m.job_key, m.part, CAST(m.effective + {borne} AS HUGEINT) AS effective, CAST(m.billed + {borne_billed} AS HUGEINT) AS billed,
    {basis} AS basis, CAST(m.gpu_part_seconds + {borne_parts} AS HUGEINT) AS gpu_part_seconds,
    {category} AS category, COALESCE(m.stage, '') AS stage, m.role, m.release, COALESCE(m.activity, 'unclassified') AS activity,
    COALESCE(j.account, j.project, '') AS team, j.cluster, COALESCE(j.name, '') AS name, j.outcome,
    CAST({borne} AS HUGEINT) AS borne, CAST({borne_billed} AS HUGEINT) AS borne_billed, CAST({borne_parts} AS HUGEINT) AS borne_parts
FROM job_part AS m JOIN jobs AS j USING (job_key) {bearing}
