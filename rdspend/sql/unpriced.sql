-- The first node with hours of the wrong number of prices. In: rate_hour, span.
SELECT cluster, node, any_value(gpu_type) AS gpu_type, any_value(instance_type) AS instance_type, any_value(queue) AS queue,
    min(h) AS hour, count(*) AS hours, min(rate) AS rate, max(other_rate) AS other, count(*) OVER () AS nodes
FROM rate_hour JOIN span USING (n) WHERE {condition}
GROUP BY cluster, node ORDER BY cluster, node LIMIT 1
