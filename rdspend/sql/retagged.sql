-- Jobs with another activity (or stage, where the activity is the same): who said so before, and of which release, who says so now, how
-- many, what they cost now, and which cost most. Who decided the activity of a part is of the part's release, or of none.
-- In: job_move, before_tags, after_tags (tags).
WITH moved AS (
    SELECT * FROM job_move
    WHERE {column}_before <> {column}_after AND ('{column}' = 'category' OR category_before = category_after)
),
before_won AS (
    SELECT job_key, CASE '{answer}' WHEN 'activity' THEN COALESCE(release, '') END AS release, arg_min(tagger, {rank}) AS tagger
    FROM before_tags SEMI JOIN moved USING (job_key)
    WHERE {answer} IS NOT NULL GROUP BY ALL
),
after_won AS (
    SELECT job_key, CASE '{answer}' WHEN 'activity' THEN COALESCE(release, '') END AS release, arg_min(tagger, {rank}) AS tagger
    FROM after_tags SEMI JOIN moved USING (job_key)
    WHERE {answer} IS NOT NULL GROUP BY ALL
)
SELECT CASE WHEN {column}_before NOT IN ('unclassified', '') THEN b.tagger END AS tagger_before, {column}_before, COALESCE(release_before, ''),
    CASE WHEN {column}_after NOT IN ('unclassified', '') THEN a.tagger END AS tagger_after, {column}_after,
    COALESCE(release_after, ''), count(DISTINCT moved.job_key) AS jobs, sum(effective_after) AS effective, sum(billed_after) AS billed,
    list(moved.job_key ORDER BY effective_after DESC, moved.job_key)[:20]
FROM moved LEFT JOIN before_won AS b ON b.job_key = moved.job_key AND COALESCE(b.release, release_before, '') = COALESCE(release_before, '')
LEFT JOIN after_won AS a ON a.job_key = moved.job_key AND COALESCE(a.release, release_after, '') = COALESCE(release_after, '')
GROUP BY ALL
ORDER BY effective DESC, tagger_before, {column}_before, tagger_after, {column}_after
