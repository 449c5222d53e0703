-- The case of each job that every tagger answers for as a whole, as in job_part_whole: its role where an answer that agrees with the
-- winner names a release, else its activity. The remainder of `won` by the number of cases is the place of the case. In: tags, and
-- segmented where there are jobs that are cut. Out: case_won (job).
CREATE OR REPLACE TEMP TABLE case_won AS
WITH activity AS (
    SELECT job_key, min(CAST({rank} * {cases} + list_position({names}, activity) - 1 AS USMALLINT)) AS won
    FROM tags WHERE activity IS NOT NULL {whole} GROUP BY job_key
),
claimed AS (
    SELECT job_key, list_position({names}, activity) - 1 AS place, list_position({names}, arg_min(role, {rank})) - 1 AS role
    FROM tags WHERE role IS NOT NULL {whole} GROUP BY job_key, activity
)
SELECT a.job_key, CAST(COALESCE(c.role, a.won) AS USMALLINT) AS won
FROM activity AS a LEFT JOIN claimed AS c ON c.job_key = a.job_key AND c.place = a.won % {cases}
