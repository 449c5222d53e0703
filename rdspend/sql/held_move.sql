-- Jobs that held something else between $low and $high (epoch seconds), by order-independent checksums of what they held, and of
-- when they ran where a bill names them. In: before_placements, after_placements, before_jobs, after_jobs. Out: held_move (job).
CREATE OR REPLACE TEMP TABLE held_move AS
WITH held AS (
    SELECT -1 AS sign, job_key, start_time, end_time, hash({held}) AS what FROM before_placements
    UNION ALL
    SELECT 1, job_key, start_time, end_time, hash({held}) FROM after_placements
    UNION ALL
    SELECT -1, job_key, start_time, end_time, hash(resource_id) FROM before_jobs WHERE resource_id IS NOT NULL
    UNION ALL
    SELECT 1, job_key, start_time, end_time, hash(resource_id) FROM after_jobs WHERE resource_id IS NOT NULL
),
cut AS (
    SELECT sign, job_key, what, greatest(epoch_us(start_time), CAST($low * 1000000 AS BIGINT)) AS s,
        least(epoch_us(end_time), CAST($high * 1000000 AS BIGINT)) AS e
    FROM held
)
SELECT job_key FROM cut WHERE s < e GROUP BY job_key HAVING sum(sign * CAST(hash(what, s, e) AS HUGEINT)) <> 0
