-- Clusters whose jobs cost something, or took GPU time: they can bear idle and shared money, and idle time. In: job_part, jobs.
-- Out: bearing (cluster).
CREATE OR REPLACE TEMP TABLE bearing AS
SELECT j.cluster, sum(greatest(m.effective, 0)) > 0 AS paid, sum(m.gpu_part_seconds) > 0 AS held
FROM job_part AS m JOIN jobs AS j USING (job_key) GROUP BY j.cluster
