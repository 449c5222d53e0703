-- Jobs, cost and GPU time: of all, of those that change class, that change their stage only, and whose answer an
-- authority above overrules. In: trial_class. One row.
SELECT count(*), COALESCE(sum(effective), 0), COALESCE(sum(gpu_part_seconds), 0),
    count(*) FILTER (before <> after),
    COALESCE(sum(effective) FILTER (before <> after), 0),
    COALESCE(sum(gpu_part_seconds) FILTER (before <> after), 0),
    count(*) FILTER (before = after AND stage_before <> stage_after),
    COALESCE(sum(effective) FILTER (before = after AND stage_before <> stage_after), 0),
    COALESCE(sum(gpu_part_seconds) FILTER (before = after AND stage_before <> stage_after), 0),
    count(*) FILTER (said <> activity_above),
    COALESCE(sum(effective) FILTER (said <> activity_above), 0),
    COALESCE(sum(gpu_part_seconds) FILTER (said <> activity_above), 0)
FROM trial_class
