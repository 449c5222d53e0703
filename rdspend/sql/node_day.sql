-- Money of a node record as one row a day with 24 hours in it, for days in which it was up throughout and its capacity is known.
-- In: node_hour, span. Out: node_day (key x node record x day).
CREATE OR REPLACE TEMP TABLE node_day AS
SELECT k, n, h // 24 AS d, bool_or(effective <> billed) AS differs,
    {hours}
FROM node_hour JOIN (SELECT n, s, e FROM span WHERE gpu_parts IS NOT NULL) AS p USING (n)
WHERE p.s <= (h // 24) * 86400 AND p.e >= (h // 24 + 1) * 86400
GROUP BY k, n, h // 24
