-- What jobs hold now and what an hour of it costs, cut to whole nanos. In: share_piece, price_now, placements, job, span.
-- Out: held_now (job x node record). With unknown capacity what is held, by all, is the whole. A node that no record names has no n.
CREATE OR REPLACE TEMP TABLE held_now AS
WITH part AS (
    SELECT p.j, p.n, p.gpu_parts, CASE WHEN p.unknown THEN p.gpu_parts ELSE p.num END AS num,
        CASE WHEN p.unknown THEN sum(p.gpu_parts) OVER (PARTITION BY p.n) ELSE p.den END AS den
    FROM share_piece AS p
)
SELECT part.j, part.n, price.cluster, part.gpu_parts, price.currency,
    CAST(CASE
        WHEN price.node_price IS NULL THEN CAST(price.gpu_price AS HUGEINT) * part.gpu_parts // {gpu_parts}
        WHEN part.den > 0 THEN CAST(price.node_price AS HUGEINT) * part.num // part.den
        ELSE 0
    END AS BIGINT) AS cost
FROM part JOIN price_now AS price USING (n)
UNION ALL
SELECT job.j, NULL, t.cluster, t.gpu_parts, NULL, NULL
FROM placements AS t JOIN job ON job.job_key = t.job_key
WHERE t.gpu_parts > 0 AND epoch_us(t.start_time) // 1000000 < $last AND COALESCE(epoch_us(t.end_time) // 1000000, $last) > $first
    AND NOT EXISTS (
        SELECT 1 FROM span AS p WHERE p.cluster = t.cluster AND p.node = t.node AND p.s < $last AND p.e > $first
    )
