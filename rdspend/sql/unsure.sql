-- What jobs were for, with who said so, how sure that is (thousandths), and what a model tells besides (hundredths), both weighted by
-- the amount in units of {scale}. In: job_money, tags, families.
-- Out: unsure (family x team x answer x who said so x stage of training or not).
-- A part of a job has the confidence of the tagger of highest authority among those that said what won there.
CREATE OR REPLACE TEMP TABLE unsure AS
WITH said AS ({said}),
hint AS ({hint}),
told AS (SELECT chances, {told} FROM (SELECT DISTINCT chances FROM hint)),
summed AS (
    SELECT COALESCE(f.family, 'no words · ' || m.team) AS family, m.team, m.category, m.activity, h.chances,
        CASE WHEN m.role = '' THEN s.word ELSE {claimed} END AS word,
        CASE WHEN m.stage IN ({training}) THEN 2 WHEN m.stage = '' THEN 1 ELSE 0 END AS training,
        m.basis IN ('estimated', 'mixed') AS estimated, sum(CAST({amount} // {scale} AS BIGINT)) AS amount,
        sum(abs(CAST({amount} // {scale} AS BIGINT)) + 1) AS weight,
        sum(m.effective) AS effective, sum(m.gpu_part_seconds) AS parts, {jobs} AS jobs
    FROM (SELECT * REPLACE ({team} AS team) FROM job_money) AS m LEFT JOIN families AS f USING (job_key)
    LEFT JOIN said AS s ON s.job_key = m.job_key AND s.activity = m.activity
    LEFT JOIN hint AS h ON h.job_key = m.job_key
    GROUP BY ALL
)
SELECT family, team, category, activity, COALESCE(word // 1001, 0) AS kind, training,
    CAST(sum(amount) AS BIGINT) AS amount,
    CAST(sum(CASE WHEN estimated THEN amount ELSE 0 END) AS BIGINT) AS estimated,
    CAST(sum(weight * COALESCE(word % 1001, 0)) // sum(weight) AS BIGINT) AS confidence,
    {means},
    sum(effective) AS effective, sum(parts) AS parts, CAST(sum(jobs) AS BIGINT) AS jobs
FROM summed LEFT JOIN told USING (chances)
GROUP BY family, team, category, activity, COALESCE(word // 1001, 0), training
