-- Effective money by the hour of node days on which the record was up throughout and its capacity is known. In: node_day, span.
-- Out: whole_day (key x node record x day); differs = billed money is another in some hour.
CREATE OR REPLACE TEMP TABLE whole_day AS
SELECT k, n, d, {differs} AS differs,
    {hours}
FROM node_day JOIN (SELECT n, s, e FROM span WHERE gpu_parts IS NOT NULL) AS p USING (n)
WHERE p.s <= CAST(d AS BIGINT) * 86400 AND p.e >= (CAST(d AS BIGINT) + 1) * 86400
