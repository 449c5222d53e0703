-- Cost and GPU time of each class before and after; both sides add up to the same. In: trial_class.
SELECT class, count(*) FILTER (side = 'before'), COALESCE(sum(effective) FILTER (side = 'before'), 0),
    COALESCE(sum(gpu_part_seconds) FILTER (side = 'before'), 0), count(*) FILTER (side = 'after'),
    COALESCE(sum(effective) FILTER (side = 'after'), 0), COALESCE(sum(gpu_part_seconds) FILTER (side = 'after'), 0)
FROM (UNPIVOT (SELECT before, after, effective, gpu_part_seconds FROM trial_class) ON before, after INTO NAME side VALUE class)
GROUP BY class ORDER BY class
