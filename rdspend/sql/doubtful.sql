-- Ids that are several jobs' at once: of several clusters, or of one that counted them anew. In: direct_match. Out: doubtful.
CREATE OR REPLACE TEMP TABLE doubtful AS
SELECT row, count(DISTINCT job_key) AS jobs, string_agg(DISTINCT job_key, ', ' ORDER BY job_key) AS named
FROM direct_match WHERE kind = 'job' AND job_key <> value AND array_job_id IS DISTINCT FROM value
GROUP BY row
HAVING count(DISTINCT cluster) > 1 OR count(DISTINCT coalesce("user", '') || '/' || coalesce(name, '')) > 1
