-- The same with shell variables put in, where the text sets them to one value. What stays unknown is left out.
-- In: said_option, told_job (jobs). Out: expanded_option.
CREATE OR REPLACE TEMP TABLE expanded_option AS
WITH RECURSIVE open_text AS (
    SELECT job_key, job_id, name, "user", {text} AS text
    FROM told_job SEMI JOIN (SELECT job_key FROM said_option WHERE contains(value, '$')) USING (job_key)
),
expanded AS (
    SELECT job_key, cluster, work_dir, option, value, 0 AS round FROM said_option WHERE contains(value, '$')
    UNION ALL
    SELECT job_key, cluster, work_dir, option, replace(value, said, coalesce(CASE variable
        WHEN 'SLURM_JOB_ID' THEN job_id WHEN 'SLURM_JOBID' THEN job_id WHEN 'SLURM_JOB_NAME' THEN name WHEN 'USER' THEN "user"
        ELSE CASE WHEN len(set_to) = 1 THEN set_to[1] WHEN len(set_to) = 0 THEN otherwise END END, said)), round + 1
    FROM (
        SELECT *, list_distinct(list_transform(
            regexp_extract_all(text, '(?:^|[\s;])(?:export\s+)?' || variable || '=("[^"]*"|''[^'']*''|[^\s;&|]+)', 1),
            lambda each: trim(each, '"'''))) AS set_to
        FROM (
            SELECT e.*, t.text, t.job_id, t.name, t."user", regexp_extract(value, '\$(?:\w+|\{\w+(?::-[^}$]*)?\})') AS said,
                regexp_extract(value, '\$\{?(\w+)', 1) AS variable,
                nullif(regexp_extract(value, '\$\{\w+:-([^}$]*)\}', 1), '') AS otherwise
            FROM expanded AS e JOIN open_text AS t USING (job_key)
            WHERE contains(value, '$') AND round < 4
        )
        WHERE variable <> ''
    )
)
SELECT DISTINCT job_key, cluster, work_dir, option, value FROM expanded WHERE NOT contains(value, '$')
