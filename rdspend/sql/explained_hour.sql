-- One job's money, bill line by bill line and hour by hour. In: spread_line, spread_node, spread_estimate, span, share_piece.
-- Out: explained_hour (line x node record x hour), only where the job held something. A node hour's money goes to its job as
-- money x seconds held x share / seconds up, cut to whole nanos; lines of one node hour share what it took by differences of running totals.
CREATE OR REPLACE TEMP TABLE explained_hour AS
WITH line AS (
    SELECT l, k, n, h, effective, billed FROM spread_node
    UNION ALL
    SELECT l, k, n, h, effective, billed FROM spread_estimate
),
hour AS (
    SELECT k, n, h, CAST(sum(effective) AS HUGEINT) AS effective, CAST(sum(billed) AS HUGEINT) AS billed FROM line GROUP BY ALL
),
held AS (
    SELECT j, n, h, num, den, unknown, gpu_parts, least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS held
    FROM (SELECT *, CAST(unnest(range(s // 3600, (e - 1) // 3600 + 1)) AS BIGINT) AS h FROM share_piece)
),
weighed AS (
    SELECT held.j, held.n, held.h, held.held, CASE WHEN unknown THEN held.gpu_parts ELSE held.num END AS num,
        CASE WHEN unknown THEN sum(held.held * held.gpu_parts) OVER (PARTITION BY held.n, held.h)
            ELSE held.den * CAST(greatest(least(p.e, (held.h + 1) * 3600) - greatest(p.s, held.h * 3600), 0) AS HUGEINT) END AS whole
    FROM held JOIN span AS p ON p.n = held.n
),
taken AS (
    SELECT w.n, w.h, hour.k, count(*) AS pieces, sum(w.held) AS held, min(w.num) AS num, min(w.whole) AS whole,
        sum(hour.effective * w.held * w.num // w.whole) AS effective,
        sum(hour.billed * w.held * w.num // w.whole) AS billed
    FROM weighed AS w JOIN hour ON hour.n = w.n AND hour.h = w.h
    WHERE w.j = $j AND w.whole > 0
    GROUP BY ALL
),
running AS (
    SELECT line.l, line.k, line.n, line.h, line.effective, line.billed, t.pieces, t.held, t.num, t.whole,
        t.effective AS taken_effective, t.billed AS taken_billed, hour.effective AS hour_effective, hour.billed AS hour_billed,
        CAST(sum(line.effective) OVER (PARTITION BY line.k, line.n, line.h ORDER BY line.l ROWS UNBOUNDED PRECEDING) AS HUGEINT) AS upto,
        CAST(sum(line.billed) OVER (PARTITION BY line.k, line.n, line.h ORDER BY line.l ROWS UNBOUNDED PRECEDING) AS HUGEINT) AS billed_upto
    FROM line JOIN taken AS t USING (k, n, h) JOIN hour USING (k, n, h)
)
SELECT l, k, n, h, effective, billed, pieces, held, num, whole,
    CASE WHEN hour_effective = 0 THEN 0
        ELSE taken_effective * upto // hour_effective - taken_effective * (upto - effective) // hour_effective END AS taken,
    CASE WHEN hour_billed = 0 THEN 0
        ELSE taken_billed * billed_upto // hour_billed - taken_billed * (billed_upto - billed) // hour_billed END AS taken_billed
FROM running
