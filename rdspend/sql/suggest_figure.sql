-- How the picked candidates do in this order, the first that is true answering; also by what they say of the stage.
-- In: suggest_unit, suggest_candidate, suggest_match.
WITH won AS (
    SELECT place, min(list_position([{picked}], candidate)) AS number FROM suggest_match WHERE candidate IN ({picked}) GROUP BY place
)
SELECT w.number, u.held, u.stage, sum(u.jobs), count(*), count(*) FILTER (u.activity = c.activity), sum(u.weight),
    COALESCE(sum(u.weight) FILTER (u.activity = c.activity), 0), sum(CAST(u.weight AS DOUBLE) * CAST(u.weight AS DOUBLE))
FROM won AS w JOIN suggest_unit AS u ON u.place = w.place JOIN suggest_candidate AS c ON c.candidate = ([{picked}])[w.number]
GROUP BY w.number, u.held, u.stage ORDER BY w.number, u.held, u.stage
