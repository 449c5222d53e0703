-- Jobs of one release by role. In: job_part. A job that is cut has several roles and counts in each.
SELECT role, count(DISTINCT job_key), sum(gpu_part_seconds), sum(effective) FROM job_part WHERE role <> '' GROUP BY role
