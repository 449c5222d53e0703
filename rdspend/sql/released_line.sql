-- Money of releases by what it was to them. In: released.
SELECT release, role, stage, category, sum(effective), sum(gpu_part_seconds), count(DISTINCT job_key) FROM released
GROUP BY ALL ORDER BY ALL
