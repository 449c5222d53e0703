-- Labelled jobs that count as one observation: the same words of the same people on the same day, or one reviewed family.
-- Held out are jobs submitted on or after $cut; reviewed ones, of which one answer covers a family, by family.
-- In: suggest_job. Out: suggest_unit (unit; place numbers them).
CREATE OR REPLACE TEMP TABLE suggest_unit AS
SELECT CAST(row_number() OVER () AS INTEGER) AS place, * FROM (
    SELECT activity, stage, family, words, "user", account, queue, held, count(*) AS jobs, sum(weight) AS weight
    FROM (
        SELECT * EXCLUDE (day), list_sort(list_distinct(regexp_extract_all(text, '\p{L}{2,}'))) AS words,
            CASE WHEN told_by = 'review' THEN left(md5(coalesce(family, '')), 1) < '6' ELSE day >= $cut END AS held,
            CASE WHEN told_by <> 'review' THEN day END AS day
        FROM suggest_job
    )
    GROUP BY activity, stage, family, words, "user", account, queue, held, day
)
