-- Node hours that node_day leaves out: the record began or ended that day, or its capacity is not known.
-- In: node_hour, span. Out: ragged_hour (key x node record x hour), up = seconds of the hour in which the record was up.
CREATE OR REPLACE TEMP TABLE ragged_hour AS
SELECT k, n, h, effective, billed, p.gpu_parts IS NULL AS unknown,
    greatest(least(p.e, (CAST(h AS BIGINT) + 1) * 3600) - greatest(p.s, CAST(h AS BIGINT) * 3600), 0) AS up
FROM node_hour JOIN span AS p USING (n)
WHERE NOT (p.gpu_parts IS NOT NULL AND p.s <= (h // 24) * 86400 AND p.e >= (h // 24 + 1) * 86400)
