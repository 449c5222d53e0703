-- What a row says of the job, or of the part of a job that is cut, that took its money. In: job, jobs, job_span, focus_tag.
-- Out: focus_job (job x part); j: the job's own number, or one below 0 for a part of it; of_j: the job's.
CREATE OR REPLACE TEMP TABLE focus_job AS
SELECT CASE WHEN cut.part IS NULL THEN job.j ELSE CAST(-row_number() OVER (ORDER BY job.j, cut.part) AS INTEGER) END AS j,
    job.j AS of_j, cut.part AS job_part, jobs.job_key, jobs.job_key || COALESCE('#' || (cut.part + 1), '') AS receiver,
    job.cluster, jobs.name,
    CASE tag.category {categories} ELSE 'unknown' END AS category, tag.release,
    tag.rule, CAST(tag.confidence AS DECIMAL(4, 3)) AS confidence,
    NULLIF(CAST(json_merge_patch('{}', json_object(
        'rdspend:account', account, 'rdspend:project', project, 'rdspend:queue', queue, 'rdspend:user', "user"
    )) AS VARCHAR), '{}') AS tags
FROM job JOIN jobs USING (job_key)
LEFT JOIN job_span AS cut ON cut.job_key = jobs.job_key
LEFT JOIN focus_tag AS tag ON tag.job_key = jobs.job_key AND tag.part = COALESCE(cut.part, 0)
