-- The groups that hold the most money, dearest first, until they reach their part of the total; groups of no money or less come last.
-- In: pareto_part.
WITH grouped AS (
    SELECT [{keys}] AS names, sum(effective) AS effective, sum(parts) AS parts, sum(jobs) AS jobs FROM pareto_part GROUP BY ALL
),
running AS (
    SELECT *, sum(effective) OVER (ORDER BY effective DESC, names) AS upto, sum(effective) OVER () AS total, count(*) OVER () AS groups
    FROM grouped
),
needed AS (
    SELECT *, count(*) OVER () AS needed FROM running
    WHERE total > 0 AND effective > 0 AND (upto - effective) * 1000000 < total * $ppm
)
SELECT names, effective, parts, jobs, upto, total, groups, needed FROM needed ORDER BY effective DESC, names LIMIT $limit
