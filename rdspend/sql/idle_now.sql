-- Each node record that is up now: its price and GPUs less what jobs hold. In: price_now, held_now. Out: idle_now (node record).
-- gpu_parts null: capacity not known. A node that holds more than it has takes nothing from the idle of another.
CREATE OR REPLACE TEMP TABLE idle_now AS
SELECT price.n, price.cluster, price.currency, price.node_price - COALESCE(held.cost, 0) AS cost,
    CASE WHEN price.gpu_parts IS NOT NULL THEN greatest(price.gpu_parts - COALESCE(held.gpu_parts, 0), 0) END AS gpu_parts
FROM price_now AS price
LEFT JOIN (SELECT n, sum(cost) AS cost, sum(gpu_parts) AS gpu_parts FROM held_now WHERE n IS NOT NULL GROUP BY n) AS held USING (n)
