-- Jobs of which some answer holds for a segment only, and what else is to be cut. In: tags, job_sum. Out: cut_job.
CREATE OR REPLACE TEMP TABLE cut_job AS
SELECT DISTINCT job_key FROM (
    SELECT job_key FROM tags WHERE segment_start IS NOT NULL OR segment_end IS NOT NULL {also}
)
SEMI JOIN job_sum USING (job_key)
