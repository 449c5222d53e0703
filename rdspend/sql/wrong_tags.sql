-- The first job whose answer a tagger may not give. In: files of tags.
-- Answers of segments are counted together where they overlap: one that begins before the one before it has ended.
WITH said AS (
    SELECT *, COALESCE(segment_start, TIMESTAMPTZ '-infinity') AS s, COALESCE(segment_end, TIMESTAMPTZ 'infinity') AS e
    FROM read_parquet([{files}])
),
beside AS (
    SELECT *, max(e) OVER (PARTITION BY job_key ORDER BY s, e ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > s AS crossed FROM said
)
SELECT job_key, activity, stage, role, confidence, CASE WHEN crossed THEN 2 ELSE 1 END FROM beside
WHERE crossed OR activity NOT IN ({activities}) OR stage NOT IN ({stages}) OR role NOT IN ({roles}) OR NOT confidence BETWEEN 0 AND 1
    OR (activity IS NULL AND (stage IS NULL AND chances IS NULL OR role IS NOT NULL)) OR s >= e
ORDER BY job_key LIMIT 1
