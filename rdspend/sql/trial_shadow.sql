-- What each shadow rule would change on top of the tried file if it alone were switched on: all that it is first to be true
-- of, and of that what would change class. In: trial_class, shadowed (rule, job_key, activity, stage).
SELECT rule, from_class, to_class, count(*) AS jobs, sum(effective) AS cost, sum(gpu_part_seconds) AS gpu_part_seconds
FROM (
    SELECT s.rule, m.after AS from_class, m.effective, m.gpu_part_seconds,
        COALESCE(m.activity_above, s.activity, m.activity_below, 'unclassified') AS to_class
    FROM shadowed AS s JOIN trial_class AS m USING (job_key)
)
GROUP BY rule, from_class, to_class ORDER BY rule, abs(cost) DESC, gpu_part_seconds DESC, from_class, to_class
