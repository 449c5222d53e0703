-- Money of each job or part of one that releases claim, cut to each of them by its weight: differences of cut running totals, so that
-- the parts of all releases add up to the job. In: job_money, jobs, claims, {span} (job x part, microseconds). Out: released.
CREATE OR REPLACE TEMP TABLE released AS
WITH named AS (
    SELECT job_key, part, effective, gpu_part_seconds, category, stage, role, project, unnest(string_split(release, ',')) AS release
    FROM (SELECT m.*, COALESCE(j.project, j.account, '') AS project FROM job_money AS m JOIN jobs AS j USING (job_key))
    WHERE release <> ''
),
placed AS (
    SELECT n.*, p.s, p.e FROM named AS n LEFT JOIN {span} AS p USING (job_key, part)
),
weighed AS (
    SELECT n.job_key, n.part, n.effective, n.gpu_part_seconds, n.category, n.stage, n.project, n.release,
        COALESCE(CASE WHEN min(c.role) = max(c.role) THEN min(c.role) END, any_value(n.role)) AS role,
        COALESCE(max(c.weight), 1) AS weight
    FROM placed AS n
    LEFT JOIN claims AS c ON c.release = n.release AND c.job_key = n.job_key
        AND COALESCE(epoch_us(c.segment_start) <= n.s, true) AND COALESCE(epoch_us(c.segment_end) >= n.e, true)
    GROUP BY n.job_key, n.part, n.effective, n.gpu_part_seconds, n.category, n.stage, n.project, n.release
),
running AS (
    SELECT *, sum(weight) OVER upto AS upto, sum(weight) OVER whole AS whole
    FROM weighed
    WINDOW upto AS (PARTITION BY job_key, part ORDER BY release), whole AS (PARTITION BY job_key, part)
)
SELECT release, role, stage, category, project, job_key, {effective} AS effective, {parts} AS gpu_part_seconds
FROM running
