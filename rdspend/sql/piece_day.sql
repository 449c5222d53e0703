-- Pieces by day, seconds counted from midnight. In: share_piece. Out: piece_day (piece x day).
CREATE OR REPLACE TEMP TABLE piece_day AS
SELECT j, n, CAST(d AS INTEGER) AS d,
    CAST(greatest(s - d * 86400, 0) AS INTEGER) AS s, CAST(least(e - d * 86400, 86400) AS INTEGER) AS e, num, den
FROM (SELECT *, unnest(range(s // 86400, (e - 1) // 86400 + 1)) AS d FROM share_piece WHERE NOT unknown)
