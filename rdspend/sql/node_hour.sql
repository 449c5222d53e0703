-- The same hour by hour, only hours that a line names. In: node_day. Out: node_hour (key x node record x hour), a view.
CREATE OR REPLACE TEMP VIEW node_hour AS
SELECT k, n, d * 24 + i AS h, {effective} AS effective, {billed} AS billed
FROM (SELECT k, n, d, unnest([{all_hours}]) AS v, CAST(unnest(range(24)) AS INTEGER) AS i FROM node_day)
WHERE v IS NOT NULL
