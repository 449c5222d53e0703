-- Files that jobs say they read or wrote. In: said_option, expanded_option, option_meaning. Out: said_file (path null: its own folder).
CREATE OR REPLACE TEMP TABLE said_file AS
WITH said AS (
    SELECT * FROM said_option WHERE NOT contains(value, '$') UNION ALL SELECT * FROM expanded_option
),
meant AS (
    SELECT o.job_key, o.cluster, o.work_dir, o.option, m.use,
        CASE WHEN starts_with(value, 'file://') THEN substr(value, 8) WHEN starts_with(value, './') THEN substr(value, 3) ELSE value END AS value
    FROM said AS o
    JOIN option_meaning AS m ON m.word = CASE WHEN contains(o.option, '.')
        THEN coalesce(nullif(regexp_extract(o.option, '(?:^|\.)((?:{dotted}))$', 1), ''), regexp_extract(o.option, '[^.]*$')) ELSE o.option END
    WHERE NOT (contains(o.option, '.') AND regexp_matches(o.option, {not_ancestors}))
        AND (m.use IN ('auto', 'step') OR contains(value, '/') OR NOT (lower(value) IN ({unsaid}) OR TRY_CAST(value AS DOUBLE) IS NOT NULL))
),
step AS (SELECT job_key, min(TRY_CAST(value AS BIGINT)) AS step FROM meant WHERE use = 'step' GROUP BY job_key)
SELECT job_key, use, option, path, step
FROM (
    SELECT job_key, CASE use WHEN 'auto' THEN 'resume' ELSE use END AS use, option, CASE WHEN use <> 'auto' THEN {path} END AS path
    FROM meant WHERE use <> 'step' AND (use <> 'auto' OR lower(value) IN ({resumes}))
)
LEFT JOIN step USING (job_key)
WHERE use = 'resume' OR path IS NOT NULL
