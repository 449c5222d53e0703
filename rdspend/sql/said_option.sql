-- Options of jobs' commands, scripts and labels that name files, as written. In: told_job (jobs). Out: said_option.
CREATE OR REPLACE TEMP TABLE said_option AS
WITH said AS (
    SELECT job_key, cluster, work_dir, regexp_extract_all(text, {option}) AS found, regexp_extract_all(text, {options}) AS several
    FROM (SELECT job_key, cluster, work_dir, {text} AS text FROM told_job WHERE start_time IS NOT NULL)
    WHERE regexp_matches(text, {option}) OR regexp_matches(text, {options})
),
single AS (SELECT job_key, cluster, work_dir, trim(unnest(found), E' \t\r\n({["'',;') AS said FROM said),
many AS (
    SELECT job_key, cluster, work_dir, regexp_extract(said, '^[-+]*([\w.-]+)', 1) AS option,
        list_filter(regexp_split_to_array(regexp_replace(said, '^[-+]*[\w.-]+\s*[=:\s]\s*', ''), '[\s,\\]+'), lambda each: each LIKE '%/%') AS values
    FROM (SELECT job_key, cluster, work_dir, trim(unnest(several)) AS said FROM said WHERE len(several) > 0)
)
SELECT job_key, cluster, work_dir, lower(replace(said.option, '_', '-')) AS option, trim(said.value, '"''') AS value
FROM (
    SELECT job_key, cluster, work_dir, regexp_extract(said, '^[-+]*([\w.-]+)\s*[=:\s]\s*(.*)$', ['option', 'value'], 's') AS said FROM single
    WHERE starts_with(said, '-') OR NOT regexp_matches(said, '^[A-Z0-9_]+=')
        OR lower(replace(regexp_extract(said, '^[A-Z0-9_]+'), '_', '-')) IN ({variables})
)
WHERE said.value <> ''
UNION ALL
SELECT job_key, cluster, work_dir, lower(replace(option, '_', '-')), trim(value, '"''')
FROM (
    SELECT job_key, cluster, work_dir, option, unnest(CASE WHEN option = 'mergekit-yaml' THEN values[-1:] ELSE values END) AS value FROM many
)
