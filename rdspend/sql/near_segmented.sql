-- Rows of the jobs that are cut. In: a table with jobs, segmented. Out: near_segmented.
CREATE OR REPLACE TEMP TABLE near_segmented AS
SELECT * FROM {table} SEMI JOIN segmented USING (job_key)
