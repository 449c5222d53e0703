-- Jobs by what they were for, their stage, how they ended and what they were to a release. In: job_money.
SELECT category, stage, outcome, role, sum(effective), sum(billed), sum(gpu_part_seconds) FROM job_money
GROUP BY ALL ORDER BY category, stage, outcome, role
