-- Places that somebody wrote, and how many people's jobs did. In: chain. Out: written.
CREATE OR REPLACE TEMP TABLE written AS
SELECT place, count(DISTINCT coalesce("user", '') || '/' || coalesce(name, '')) AS writers FROM chain GROUP BY place
