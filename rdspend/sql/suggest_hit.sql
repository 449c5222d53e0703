-- Which base is true of which unit: the family is the same, or the text contains the word, inside a longer word too.
-- In: suggest_unit, suggest_base. Out: suggest_hit (place, kind, value).
CREATE OR REPLACE TEMP TABLE suggest_hit AS
WITH spoken AS (SELECT place, unnest(words) AS token FROM suggest_unit),
token AS (SELECT DISTINCT token FROM spoken),
found AS (SELECT t.token, b.value FROM token AS t JOIN suggest_base AS b ON b.kind = 'word' AND contains(t.token, b.value))
SELECT DISTINCT s.place, 'word' AS kind, f.value FROM spoken AS s JOIN found AS f ON f.token = s.token
UNION ALL
SELECT u.place, 'family', u.family FROM suggest_unit AS u JOIN suggest_base AS b ON b.kind = 'family' AND b.value = u.family
