-- Which candidate is true of which unit, held out or not.
-- In: suggest_unit, suggest_hit, suggest_candidate. Out: suggest_match (candidate, place).
CREATE OR REPLACE TEMP TABLE suggest_match AS
SELECT c.candidate, u.place
FROM suggest_candidate AS c
JOIN suggest_hit AS h ON h.kind = c.kind AND h.value = c.value
JOIN suggest_unit AS u ON u.place = h.place
WHERE c.field = '' OR c.field_value = CASE c.field WHEN 'account' THEN u.account WHEN 'queue' THEN u.queue ELSE u."user" END
