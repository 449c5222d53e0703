-- Grain out: a job that somebody labelled, with the answer of the tagger that ranks first. In: jobs, tags of those who know.
CREATE OR REPLACE TEMP TABLE taught_jobs AS
SELECT j.*, t.activity, t.stage
FROM jobs AS j
JOIN (
    SELECT job_key,
        arg_min(activity, rank) FILTER (WHERE activity IS NOT NULL) AS activity,
        arg_min(stage, rank) FILTER (WHERE stage IS NOT NULL) AS stage
    FROM (SELECT *, list_position([{teachers}], string_split(tagger, '.')[1]) AS rank FROM tags)
    GROUP BY job_key
) AS t USING (job_key);
