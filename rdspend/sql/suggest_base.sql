-- What rules may be made of: families, and words that stand in the name or the command, of enough learned observations.
-- In: suggest_unit. Out: suggest_base (kind and value).
CREATE OR REPLACE TEMP TABLE suggest_base AS
SELECT kind, value FROM (
    SELECT 'family' AS kind, family AS value, weight FROM suggest_unit WHERE NOT held AND family IS NOT NULL
    UNION ALL
    SELECT 'word', unnest(words), weight FROM suggest_unit WHERE NOT held
)
WHERE length(value) <= $longest AND (kind = 'family' OR length(value) >= 3 OR regexp_full_match(value, '[^a-z]+'))
GROUP BY kind, value HAVING count(*) >= $least
QUALIFY row_number() OVER (PARTITION BY kind ORDER BY sum(weight) DESC, count(*) DESC, value) <= $most
