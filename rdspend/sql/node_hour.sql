-- Money of node records by hour. In: slot, spread_node. Out: node_hour (key x node record x hour).
CREATE OR REPLACE TEMP TABLE node_hour AS
{spread_too}
SELECT k, what AS n, slot_at AS h, effective, billed FROM slot WHERE class = 2
{end}
