-- Money of node records by day, with its 24 hours, packed as in slot. In: slot and {hour_rows} (key x node record x hour).
-- Out: node_day (key x node record x day).
CREATE OR REPLACE TEMP TABLE node_day AS
SELECT k, n, d, sum(v) AS v,
    {sums}
FROM (
    {known}
    UNION ALL
    SELECT k, n, CAST(h // 24 AS INTEGER) AS d, sum(v) AS v,
        {hours}
    FROM (SELECT k, n, h, h % 24 AS hour, {packed} AS v FROM {hour_rows})
    GROUP BY k, n, h // 24
)
GROUP BY k, n, d
