-- GPU time as the records say it, cut to the month and to now. In: placements, job, span. Out: occupancy (the ledger's table).
-- Idle is capacity x time up minus what was held while up; a cluster where any node's capacity is not known has no idle row value.
CREATE OR REPLACE TEMP TABLE occupancy AS
WITH held AS (
    SELECT job.j, t.cluster, t.gpu_parts,
        greatest(epoch_us(t.start_time) // 1000000, $first) AS s,
        least(COALESCE(epoch_us(t.end_time) // 1000000, $now), $last) AS e
    FROM placements AS t JOIN job ON job.job_key = t.job_key
    WHERE t.gpu_parts > 0
),
by_job AS (
    SELECT j, cluster, d, sum(gpu_parts * (least(e, (d + 1) * 86400) - greatest(s, d * 86400))) AS used
    FROM (SELECT *, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d FROM held WHERE s < e)
    GROUP BY ALL
),
capacity AS (
    SELECT cluster, d,
        CASE WHEN bool_and(gpu_parts IS NOT NULL) THEN sum(gpu_parts * (least(e, (d + 1) * 86400) - greatest(s, d * 86400))) END AS paid
    FROM (
        SELECT cluster, gpu_parts, s, e, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d
        FROM (SELECT cluster, gpu_parts, greatest(s, $first) AS s, least(e, $last, $now) AS e FROM span)
        WHERE s < e
    ) GROUP BY cluster, d
),
part AS (
    SELECT cluster, d, j, used FROM by_job
    UNION ALL
    SELECT c.cluster, c.d, NULL, CASE WHEN c.paid IS NULL THEN NULL ELSE greatest(c.paid - COALESCE(u.used, 0), 0) END
    FROM capacity AS c
    LEFT JOIN (SELECT cluster, d, sum(used) AS used FROM by_job GROUP BY ALL) AS u ON u.cluster = c.cluster AND u.d = c.d
)
SELECT part.cluster,
    strftime(make_timestamp(CAST(d AS BIGINT) * 86400000000), '%Y-%m') AS month,
    strftime(make_timestamp(CAST(d AS BIGINT) * 86400000000), '%Y-%m-%d') AS day,
    job_key,
    CAST(used AS BIGINT) AS gpu_part_seconds
FROM part LEFT JOIN job USING (j)
