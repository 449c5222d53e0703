-- The jobs behind a figure, dearest first; the last two columns say how many there are and what they cost together.
-- In: job_money (job), attributions, occupancy. A day's figures are those of the day, all others those of the period.
WITH day_money AS (
    SELECT job_key, sum(effective_cost_nanos) AS cost FROM attributions
    WHERE day = $day AND billing_currency = $currency AND job_key IS NOT NULL GROUP BY job_key
),
day_time AS (
    SELECT job_key, sum(gpu_part_seconds) AS parts FROM occupancy WHERE day = $day AND job_key IS NOT NULL GROUP BY job_key
),
of_day AS (
    SELECT m.*, COALESCE(t.parts, 0) AS parts, c.cost FROM job_money AS m JOIN day_money AS c USING (job_key) LEFT JOIN day_time AS t USING (job_key)
),
of_period AS (
    SELECT *, gpu_part_seconds AS parts, effective AS cost FROM job_money
)
SELECT job_key, name, team, category, stage, outcome, cost, parts, count(*) OVER () AS jobs, sum(cost) OVER () AS total
FROM {source} WHERE {condition}
ORDER BY cost DESC, parts DESC, job_key
LIMIT $limit
