-- Node records as integers. In: nodes (node x span). Out: span (same grain), n = integer key, s and e epoch seconds.
-- pool_weight: its part of its pool's money, by GPUs where the pool has any.
CREATE OR REPLACE TEMP TABLE span AS
SELECT
    CAST(row_number() OVER (ORDER BY cluster, node, start_time NULLS FIRST, resource_id) AS INTEGER) AS n,
    cluster, node, resource_id, pool, gpu_parts, gpu_type, cpus, memory_mib, instance_type, queue,
    CASE WHEN pool IS NULL OR max(COALESCE(gpu_parts, 0)) OVER (PARTITION BY pool) = 0 THEN 1 ELSE gpu_parts END AS pool_weight,
    COALESCE(epoch_us(start_time) // 1000000, $earliest) AS s,
    COALESCE(epoch_us(end_time) // 1000000, $latest) AS e
FROM nodes
