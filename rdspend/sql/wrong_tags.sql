-- The first job whose answer a tagger may not give. In: files of tags.
SELECT job_key, activity, stage, confidence, answers FROM (
    SELECT *, count(*) OVER (PARTITION BY job_key) AS answers FROM read_parquet([{files}])
)
WHERE answers > 1 OR activity NOT IN ({activities}) OR stage NOT IN ({stages}) OR NOT confidence BETWEEN 0 AND 1
    OR (activity IS NULL AND stage IS NULL)
ORDER BY job_key LIMIT 1
