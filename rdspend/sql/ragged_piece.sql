-- Pieces by hour on the node records that have ragged hours. In: share_piece, ragged_hour. Out: ragged_piece (piece x hour), held = seconds.
-- With unknown capacity what is held in the hour, by all, is the whole: den = sum of GPU part-seconds.
CREATE OR REPLACE TEMP TABLE ragged_piece AS
WITH hourly AS (
    SELECT j, n, unknown, gpu_parts, num, den, h, least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS held
    FROM (
        SELECT *, unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS h
        FROM share_piece SEMI JOIN ragged_hour USING (n)
    )
)
SELECT j, n, CAST(h AS INTEGER) AS h, held, CASE WHEN unknown THEN gpu_parts ELSE num END AS num,
    CASE WHEN unknown THEN sum(held * gpu_parts) OVER (PARTITION BY n, h) ELSE den END AS den
FROM hourly
