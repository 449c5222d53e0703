-- What happened to jobs between two revisions: how many, and their money (of jobs in both: what they cost now).
-- In: job_move, held_move.
SELECT kind, count(*) AS jobs, sum(effective) AS effective, sum(billed) AS billed
FROM (
    SELECT 'new' AS kind, effective_after AS effective, billed_after AS billed FROM job_move WHERE category_before IS NULL
    UNION ALL SELECT 'gone', -effective_before, -billed_before FROM job_move WHERE category_after IS NULL
    UNION ALL SELECT 'held', effective_after, billed_after FROM job_move
    WHERE category_before IS NOT NULL AND category_after IS NOT NULL
        AND (parts_before <> parts_after OR job_key IN (SELECT job_key FROM held_move))
    UNION ALL SELECT 'team', effective_after, billed_after FROM job_move WHERE team_before <> team_after
    UNION ALL SELECT 'cost', effective_after, billed_after
    FROM job_move WHERE category_before IS NOT NULL AND category_after IS NOT NULL AND effective_before <> effective_after
)
GROUP BY kind ORDER BY kind
