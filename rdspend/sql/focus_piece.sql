-- Money of node records by line and hour, of the hours from $low until $high. In: focus_line, focus_spread.
-- Out: focus_piece (line x node record x hour); l: null for a line of one hour.
CREATE OR REPLACE TEMP TABLE focus_piece AS
SELECT CAST(NULL AS BIGINT) AS l, k, f, r, what AS n, h, effective_cost_nanos AS effective, billed_cost_nanos AS billed
FROM focus_line
WHERE class = 2 AND charge_period_start >= make_timestamptz($low * 3600000000) AND charge_period_start < make_timestamptz($high * 3600000000)
UNION ALL
SELECT l, k, f, r, n, h, effective, billed FROM focus_spread WHERE h >= $low AND h < $high
