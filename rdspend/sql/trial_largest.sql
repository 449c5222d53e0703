-- The largest jobs that change class. In: trial_class, jobs.
SELECT m.job_key, COALESCE(j.name, ''), m.team, m.before, m.after, m.effective, m.gpu_part_seconds
FROM trial_class AS m JOIN jobs AS j ON j.job_key = m.job_key
WHERE m.before <> m.after ORDER BY abs(m.effective) DESC, m.gpu_part_seconds DESC, m.job_key LIMIT $limit
