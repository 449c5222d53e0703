-- Nodes that are up, and whether the GPUs of all of them are known. In: idle_now.
SELECT cluster, COALESCE(currency, ''), count(*), bool_and(gpu_parts IS NOT NULL) FROM idle_now GROUP BY ALL ORDER BY ALL
