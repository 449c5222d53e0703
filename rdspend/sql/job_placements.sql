-- Where one job ran, and which resource each node then was. In: placements, nodes.
SELECT t.node, string_agg(DISTINCT n.resource_id, ', ' ORDER BY n.resource_id) AS resource_id,
    strftime(timezone('UTC', any_value(t.start_time)), '%Y-%m-%dT%H:%M:%SZ') AS started,
    COALESCE(strftime(timezone('UTC', any_value(t.end_time)), '%Y-%m-%dT%H:%M:%SZ'), 'still runs') AS ended,
    any_value(t.gpu_parts) AS gpu_parts
FROM placements AS t
LEFT JOIN nodes AS n ON n.cluster = t.cluster AND n.node = t.node
    AND (n.start_time IS NULL OR t.end_time IS NULL OR n.start_time < t.end_time)
    AND (n.end_time IS NULL OR n.end_time > t.start_time)
WHERE t.job_key = $job_key
GROUP BY t.node
ORDER BY t.node
