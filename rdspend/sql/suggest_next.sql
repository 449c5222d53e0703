-- The candidate that adds most to what {picked} answer for already, on the part learned from: weight times the lower bound of its
-- precision there, and right enough there too. In: suggest_unit, suggest_candidate, suggest_match.
SELECT candidate
FROM (
    SELECT m.candidate, count(*) AS units, sum(u.weight) AS weight,
        count(*) FILTER (u.activity = c.activity) AS right_units, COALESCE(sum(u.weight) FILTER (u.activity = c.activity), 0) AS right_weight
    FROM suggest_match AS m
    JOIN suggest_candidate AS c ON c.candidate = m.candidate
    JOIN suggest_unit AS u ON u.place = m.place AND NOT u.held
    WHERE m.place NOT IN (SELECT place FROM suggest_match WHERE candidate IN ({picked}))
    GROUP BY m.candidate
)
JOIN suggest_candidate USING (candidate)
WHERE units >= $least AND weight >= $smallest AND right_units >= $precision * units AND right_weight >= $precision * weight
ORDER BY weight * (right_units / (units + $doubt)) DESC, field, kind DESC, value, candidate
LIMIT 1
