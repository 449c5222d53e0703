-- The same of billed money, only for the days on which it differs. In: node_hour, node_day. Out: node_day_billed.
CREATE OR REPLACE TEMP TABLE node_day_billed AS
SELECT k, n, d,
    {hours}
FROM (SELECT k, n, h, h // 24 AS d, billed FROM node_hour) SEMI JOIN (SELECT k, n, d FROM node_day WHERE differs) USING (k, n, d)
GROUP BY k, n, d
