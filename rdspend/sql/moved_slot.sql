-- Resource days (by a hash of bounded size) that moved, if only inside; looked at are those that moved most, until they hold $most
-- lines. In: gone_line, new_line. Out: moved_slot.
CREATE OR REPLACE TEMP TABLE moved_slot AS
WITH summed AS (
    SELECT {slot} AS slot, -sum(effective_cost_nanos) AS effective, -sum(billed_cost_nanos) AS billed, count(*) AS lines,
        -sum({content}) AS content
    FROM gone_line WHERE billing_currency = $currency GROUP BY 1
    UNION ALL
    SELECT {slot}, sum(effective_cost_nanos), sum(billed_cost_nanos), count(*), sum({content})
    FROM new_line WHERE billing_currency = $currency GROUP BY 1
),
moved AS (
    SELECT slot, greatest(abs(sum(effective)), abs(sum(billed))) AS money, sum(lines) AS lines
    FROM summed GROUP BY slot HAVING sum(content) <> 0
)
SELECT slot, lines, sum(lines) OVER (ORDER BY money DESC, slot) - lines < $most AS looked_at FROM moved
