-- Billed money of the whole days on which it is another. In: node_day, whole_day. Out: whole_day_billed (key x node record x day).
CREATE OR REPLACE TEMP TABLE whole_day_billed AS
SELECT k, n, d,
    {hours}
FROM node_day SEMI JOIN (SELECT k, n, d FROM whole_day WHERE differs) USING (k, n, d)
