-- Predicates that are right on the part learned from: a base alone, or with one account, user or queue where it alone is not.
-- Right: of the weight and of the observations. Never final_training.
-- In: suggest_unit, suggest_hit. Out: suggest_candidate (candidate numbers them).
CREATE OR REPLACE TEMP TABLE suggest_candidate AS
WITH widened AS (
    SELECT h.kind, h.value, w.field, w.field_value, u.activity, sum(u.weight) AS weight, count(*) AS units
    FROM suggest_hit AS h JOIN suggest_unit AS u ON u.place = h.place AND NOT u.held,
        unnest([{'field': '', 'field_value': ''}, {'field': 'account', 'field_value': u.account},
            {'field': 'queue', 'field_value': u.queue}, {'field': 'user', 'field_value': u."user"}]) AS t(w)
    WHERE w.field_value IS NOT NULL AND length(w.field_value) <= $longest
    GROUP BY h.kind, h.value, w.field, w.field_value, u.activity
),
best AS (
    SELECT kind, value, field, field_value, arg_max(activity, (units, weight, activity)) AS activity
    FROM widened GROUP BY kind, value, field, field_value
    HAVING sum(units) >= $least
        AND max(units) >= $precision * sum(units)
        AND arg_max(weight, (units, weight, activity)) >= $precision * sum(weight)
)
SELECT CAST(row_number() OVER (ORDER BY kind, value, field, field_value) AS INTEGER) AS candidate, *
FROM best
WHERE activity <> 'final_training'
    AND (field = '' OR (kind, value) NOT IN (SELECT (kind, value) FROM best WHERE field = ''))
