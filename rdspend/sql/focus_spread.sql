-- Every line that is spread, hour by hour. In: spread_node, spread_line, focus_origin, focus_estimate.
-- Out: focus_spread (line x node record x hour), a view.
CREATE OR REPLACE TEMP VIEW focus_spread AS
SELECT s.l, s.k, o.f, p.origin_row AS r, s.n, CAST(s.h AS BIGINT) AS h, s.effective, s.billed
FROM spread_node AS s JOIN spread_line AS p USING (l) JOIN focus_origin AS o ON o.k = p.k AND o.origin_file = p.origin_file
UNION ALL
SELECT l, k, f, r, n, h, effective, effective FROM focus_estimate
