-- Borders of the segments of jobs, as one of two revisions has them. In: tags. More rows of border_of_either (job_key, microseconds).
INSERT INTO border_of_either
SELECT DISTINCT job_key, epoch_us(unnest([segment_start, segment_end])) FROM tags WHERE segment_start IS NOT NULL OR segment_end IS NOT NULL
