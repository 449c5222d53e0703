-- What happened to jobs between two revisions: how many, and their money (of jobs in both: what they cost now).
-- In: job_move, held_move.
WITH of_job AS (
    SELECT job_key, any_value(category_before) IS NULL AS new, any_value(category_after) IS NULL AS gone,
        any_value(team_before) AS team_before, any_value(team_after) AS team_after,
        sum(effective_before) AS effective_before, sum(effective_after) AS effective_after,
        sum(billed_before) AS billed_before, sum(billed_after) AS billed_after,
        sum(parts_before) AS parts_before, sum(parts_after) AS parts_after
    FROM job_move GROUP BY job_key
)
SELECT kind, count(*) AS jobs, sum(effective) AS effective, sum(billed) AS billed
FROM (
    SELECT 'new' AS kind, effective_after AS effective, billed_after AS billed FROM of_job WHERE new
    UNION ALL SELECT 'gone', -effective_before, -billed_before FROM of_job WHERE gone
    UNION ALL SELECT 'held', effective_after, billed_after FROM of_job
    WHERE NOT new AND NOT gone AND (parts_before <> parts_after OR job_key IN (SELECT job_key FROM held_move))
    UNION ALL SELECT 'team', effective_after, billed_after FROM of_job WHERE team_before <> team_after
    UNION ALL SELECT 'cost', effective_after, billed_after
    FROM of_job WHERE NOT new AND NOT gone AND effective_before <> effective_after
)
GROUP BY kind ORDER BY kind
