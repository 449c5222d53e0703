-- Labelled jobs, observations and weight of the part learned from and of the part held out. In: suggest_unit.
SELECT held, sum(jobs), count(*), sum(weight) FROM suggest_unit GROUP BY held ORDER BY held
