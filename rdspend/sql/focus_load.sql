-- How many lines, and jobs in node hours, each hour of the month has. In: focus_line, focus_spread, share_piece. Hours without lines
-- are left out.
SELECT h, sum(lines) AS lines, sum(shares) AS shares
FROM (
    SELECT h, count(*) AS lines, 0 AS shares FROM focus_line WHERE class = 2 GROUP BY h
    UNION ALL
    SELECT h, count(*), 0 FROM focus_spread GROUP BY h
    UNION ALL
    SELECT h, 0, count(*) FROM (SELECT unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS h FROM share_piece) GROUP BY h
)
GROUP BY h HAVING sum(lines) > 0
ORDER BY h
