-- Jobs with another activity (or stage, where the activity is the same): who said so before, who says so now, how many, what they
-- cost now. In: job_move, before_tags, after_tags (tags).
WITH moved AS (
    SELECT * FROM job_move
    WHERE {column}_before <> {column}_after AND ('{column}' = 'category' OR category_before = category_after)
),
before_won AS (
    SELECT job_key, arg_min(tagger, {rank}) AS tagger FROM before_tags SEMI JOIN moved USING (job_key)
    WHERE {answer} IS NOT NULL GROUP BY job_key
),
after_won AS (
    SELECT job_key, arg_min(tagger, {rank}) AS tagger FROM after_tags SEMI JOIN moved USING (job_key)
    WHERE {answer} IS NOT NULL GROUP BY job_key
)
SELECT b.tagger AS tagger_before, {column}_before, a.tagger AS tagger_after, {column}_after, count(*) AS jobs,
    sum(effective_after) AS effective, sum(billed_after) AS billed
FROM moved LEFT JOIN before_won AS b USING (job_key) LEFT JOIN after_won AS a USING (job_key)
GROUP BY ALL
ORDER BY effective DESC, tagger_before, {column}_before, tagger_after, {column}_after
