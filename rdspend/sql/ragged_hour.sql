-- Node hours that whole_day leaves out: the record began or ended that day, or its capacity is not known.
-- In: node_day, span. Out: ragged_hour (key x node record x hour), up = seconds of the hour in which the record was up.
CREATE OR REPLACE TEMP TABLE ragged_hour AS
WITH ragged AS (
    SELECT node_day.*, p.s, p.e, p.gpu_parts IS NULL AS unknown
    FROM node_day JOIN span AS p USING (n)
    WHERE NOT (p.gpu_parts IS NOT NULL AND p.s <= CAST(d AS BIGINT) * 86400 AND p.e >= (CAST(d AS BIGINT) + 1) * 86400)
),
hourly AS (
    SELECT k, n, s, e, unknown, CAST(d AS BIGINT) * 24 + unnest(range(24)) AS h, unnest([{all_hours}]) AS v FROM ragged
)
SELECT k, n, CAST(h AS INTEGER) AS h, {effective} AS effective, {billed} AS billed, unknown,
    greatest(least(e, (h + 1) * 3600) - greatest(s, h * 3600), 0) AS up
FROM hourly WHERE v IS NOT NULL
