-- GPU time as the records say it, cut to the month and to now. In: placements, piece, job, span. Out: occupancy (the ledger's table).
-- Idle is capacity x time up minus what was held while up; where any node's capacity is not known it is null.
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
    SELECT n, cluster, d, gpu_parts IS NULL AS unknown, gpu_parts * (least(e, (d + 1) * 86400) - greatest(s, d * 86400)) AS paid
    FROM (
        SELECT n, cluster, gpu_parts, s, e, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d
        FROM (SELECT n, cluster, gpu_parts, greatest(s, $first) AS s, least(e, $last, $now) AS e FROM span)
        WHERE s < e
    )
),
taken AS (
    SELECT n, d, sum(gpu_parts * (least(e, (d + 1) * 86400) - greatest(s, d * 86400))) AS used
    FROM (
        SELECT n, gpu_parts, s, e, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d
        FROM (SELECT n, gpu_parts, greatest(s, $first) AS s, least(e, $last) AS e FROM piece)
        WHERE s < e
    )
    GROUP BY n, d
),
idle AS (
    -- Node by node: one that holds more than it has takes nothing from the idle of another.
    SELECT c.cluster, c.d, CASE WHEN bool_or(c.unknown) THEN NULL ELSE sum(greatest(c.paid - COALESCE(t.used, 0), 0)) END AS used
    FROM capacity AS c LEFT JOIN taken AS t ON t.n = c.n AND t.d = c.d
    GROUP BY c.cluster, c.d
),
part AS (
    SELECT cluster, d, j, used FROM by_job
    UNION ALL
    SELECT cluster, d, NULL, used FROM idle
)
SELECT part.cluster,
    strftime(make_timestamp(CAST(d AS BIGINT) * 86400000000), '%Y-%m') AS month,
    strftime(make_timestamp(CAST(d AS BIGINT) * 86400000000), '%Y-%m-%d') AS day,
    job_key,
    CAST(used AS BIGINT) AS gpu_part_seconds
FROM part LEFT JOIN job USING (j)
