-- Jobs of which some answer holds for a segment only. In: tags. Out: segmented (job).
CREATE OR REPLACE TEMP TABLE segmented AS
SELECT DISTINCT job_key FROM tags WHERE segment_start IS NOT NULL OR segment_end IS NOT NULL
