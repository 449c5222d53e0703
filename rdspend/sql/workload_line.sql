-- Steps of making and using models, GPU jobs and calls of APIs apart, with tokens where they are known.
-- In: job_money, jobs, tokens. One row: step, jobs and money and GPU time of both kinds, money of the jobs with tokens, tokens.
WITH counted AS (
    SELECT job_key, sum(tokens) AS tokens,
        sum(tokens) FILTER (kind NOT LIKE 'output%') AS read,
        sum(tokens) FILTER (kind LIKE 'output%') AS written
    FROM tokens GROUP BY job_key
),
part AS (
    SELECT m.effective, m.gpu_part_seconds, m.part, c.tokens, c.read, c.written,
        c.job_key IS NOT NULL OR COALESCE(m.gpu_part_seconds = 0 AND map_contains(j.labels, 'service'), false) AS api,
        CASE
            WHEN m.category <> 'final_training'
                AND regexp_matches(lower(concat_ws(' ', m.name, j.project, j.command)), '(^|[^\p{L}])agent(s|ic)?($|[^\p{L}])') THEN 'agents'
            WHEN m.category = 'data_generation' OR m.stage = 'data' THEN 'data'
            WHEN m.category = 'evaluation' OR m.stage = 'evaluation' THEN 'evaluation'
            WHEN m.category = 'inference' OR m.stage = 'serving' THEN 'inference'
            WHEN m.stage IN ('finetuning', 'reinforcement_learning') THEN 'fine_tuning'
            WHEN m.category = 'unclassified' AND m.stage = '' THEN 'unclassified'
            WHEN m.stage IN ('pretraining', 'midtraining') OR m.category = 'final_training' THEN 'training'
            ELSE 'other'
        END AS step
    FROM job_money AS m JOIN jobs AS j USING (job_key) LEFT JOIN counted AS c USING (job_key)
)
SELECT step, count(*) FILTER (NOT api), COALESCE(sum(effective) FILTER (NOT api), 0), COALESCE(sum(gpu_part_seconds) FILTER (NOT api), 0),
    count(*) FILTER (api), COALESCE(sum(effective) FILTER (api), 0), COALESCE(sum(effective) FILTER (tokens > 0), 0),
    COALESCE(sum(tokens) FILTER (part = 0), 0), COALESCE(sum(read) FILTER (part = 0), 0), COALESCE(sum(written) FILTER (part = 0), 0)
FROM part GROUP BY step
