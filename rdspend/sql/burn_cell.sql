-- What burns by category, team and cluster; stages are added up. In: cell.
SELECT category, team, cluster, sum(effective), sum(gpu_part_seconds) FROM cell GROUP BY ALL ORDER BY ALL
