-- The jobs behind a figure, dearest first, one row a job: of one that is cut, its parts in the figure together, and all that they went to.
-- The last columns say how many there are, what they cost together, and what of that they bear of idle and shared money; those of a day
-- bear none. In: job_money (job x part), attributions, occupancy. A day's figures are those of the day, all others those of the period.
WITH day_money AS (
    SELECT job_key, sum(effective_cost_nanos) AS cost FROM attributions
    WHERE day = $day AND billing_currency = $currency AND job_key IS NOT NULL GROUP BY job_key
),
day_time AS (
    SELECT job_key, sum(gpu_part_seconds) AS parts FROM occupancy WHERE day = $day AND job_key IS NOT NULL GROUP BY job_key
),
cut AS (SELECT DISTINCT job_key FROM job_money WHERE part > 0),
of_period AS (
    SELECT job_key, name, team, category, stage, outcome, gpu_part_seconds AS parts, effective AS cost, borne
    FROM job_money ANTI JOIN cut USING (job_key) WHERE {condition}
    UNION ALL
    SELECT job_key, any_value(name), any_value(team), string_agg(DISTINCT category, ', ' ORDER BY category),
        COALESCE(string_agg(DISTINCT stage, ', ' ORDER BY stage) FILTER (stage <> ''), ''), any_value(outcome),
        sum(gpu_part_seconds), sum(effective), sum(borne)
    FROM job_money SEMI JOIN cut USING (job_key) WHERE {condition} GROUP BY job_key
),
of_day AS (
    SELECT m.* REPLACE (COALESCE(t.parts, 0) AS parts, c.cost AS cost, 0 AS borne)
    FROM of_period AS m JOIN day_money AS c USING (job_key) LEFT JOIN day_time AS t USING (job_key)
)
SELECT job_key, name, team, category, stage, outcome, cost, parts, count(*) OVER () AS jobs, sum(cost) OVER () AS total, sum(borne) OVER () AS borne
FROM {source}
ORDER BY cost DESC, parts DESC, job_key
LIMIT $limit
