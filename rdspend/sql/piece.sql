-- Placements as integers, cut to the time their node record was up and money is there. In: placements, job, span. Out: piece (job x node record x span).
-- num/den is the share of the node by the share rule; den is the same for all pieces of a node record.
CREATE OR REPLACE TEMP TABLE piece AS
WITH held AS (
    SELECT job.j, p.n, p.gpu_parts AS gpu_capacity, p.cpus AS cpu_capacity, p.memory_mib AS memory_capacity,
        t.gpu_parts, t.cpus, t.memory_mib,
        greatest(epoch_us(t.start_time) // 1000000, p.s, $first) AS s,
        least(COALESCE(epoch_us(t.end_time) // 1000000, $now), p.e, $last) AS e
    FROM placements AS t
    JOIN span AS p ON p.cluster = t.cluster AND p.node = t.node
    JOIN job ON job.job_key = t.job_key
),
shared AS (
    SELECT j, n, s, e, gpu_parts, gpu_capacity IS NULL AS unknown,
        {num} AS num,
        {den} AS den
    FROM held WHERE s < e
)
SELECT j, n, s, e, gpu_parts, unknown, CAST(num AS BIGINT) AS num, CAST(den AS BIGINT) AS den FROM shared WHERE num > 0 OR unknown
