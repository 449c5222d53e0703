-- What changes class, by team and from class to class; most money first. In: trial_class.
SELECT team, before, after, count(*) AS jobs, sum(effective) AS cost, sum(gpu_part_seconds) AS gpu_part_seconds
FROM trial_class WHERE before <> after GROUP BY team, before, after
ORDER BY abs(cost) DESC, gpu_part_seconds DESC, team, before, after
