-- All money of the period by everything it may be grouped by; buckets carry their own name in every column.
-- In: job_money, jobs, families, cell. Out: pareto_part.
CREATE OR REPLACE TEMP TABLE pareto_part AS
SELECT m.category AS activity, m.stage, m.team, m.cluster, COALESCE(j.project, '') AS project, COALESCE(j."user", '') AS "user",
    COALESCE(f.family, '') AS family, sum(m.effective) AS effective, sum(m.gpu_part_seconds) AS parts, count(*) AS jobs
FROM job_money AS m JOIN jobs AS j USING (job_key) LEFT JOIN families AS f USING (job_key)
GROUP BY ALL
UNION ALL
SELECT category, '', '(' || category || ')', CASE cluster WHEN '' THEN '(' || category || ')' ELSE cluster END, '(' || category || ')',
    '(' || category || ')', '(' || category || ')', sum(effective), sum(gpu_part_seconds), 0
FROM cell WHERE category IN ('idle', 'bill_idle', 'shared') GROUP BY ALL
