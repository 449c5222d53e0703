-- Who takes a node hour's money: its jobs in order of j, then idle (j null). In: focus_hour, share_piece, span,
-- focus_cut.
-- Out: focus_share (key x node record x hour). Of each part r is its share in parts per billion, e and b its effective and billed nanos, all
-- as running totals from 0 to 1. What a job takes is cut as in the attribution; what cutting leaves is idle's.
CREATE OR REPLACE TEMP TABLE focus_share AS
WITH held AS (
    SELECT j, n, h, CASE WHEN unknown THEN gpu_parts ELSE num END AS num, least(e, (h + 1) * 3600) - greatest(s, h * 3600) AS held,
        CASE WHEN unknown THEN sum((least(e, (h + 1) * 3600) - greatest(s, h * 3600)) * gpu_parts) OVER (PARTITION BY n, h)
            ELSE den * CAST(greatest(least(up_e, (h + 1) * 3600) - greatest(up_s, h * 3600), 0) AS HUGEINT) END AS whole
    FROM (
        SELECT piece.*, p.s AS up_s, p.e AS up_e,
            CAST(unnest(range(greatest(piece.s // 3600, $low), least((piece.e - 1) // 3600 + 1, $high))) AS BIGINT) AS h
        FROM share_piece AS piece JOIN span AS p USING (n)
    )
),
taken AS (
    SELECT t.k, t.n, t.h, held.j,
        CAST(sum(CAST({billion} AS HUGEINT) * held.held * held.num // held.whole) AS BIGINT) AS r,
        CAST(sum(CAST(t.effective AS HUGEINT) * held.held * held.num // held.whole) AS BIGINT) AS e,
        CAST(sum(CAST(t.billed AS HUGEINT) * held.held * held.num // held.whole) AS BIGINT) AS b,
        count(*) AS pieces
    FROM held JOIN focus_hour AS t USING (n, h)
    WHERE held.whole > 0
    GROUP BY t.k, t.n, t.h, held.j
),
parted AS (
    SELECT t.k, t.n, t.h, COALESCE(c.j, t.j) AS j, CASE WHEN COALESCE(c.first, true) THEN t.pieces ELSE 0 END AS pieces,
        CASE WHEN c.j IS NULL THEN t.r ELSE CAST(t.r * c.high // c.whole - t.r * c.low // c.whole AS BIGINT) END AS r,
        CASE WHEN c.j IS NULL THEN t.e ELSE CAST(t.e * c.high // c.whole - t.e * c.low // c.whole AS BIGINT) END AS e,
        CASE WHEN c.j IS NULL THEN t.b ELSE CAST(t.b * c.high // c.whole - t.b * c.low // c.whole AS BIGINT) END AS b
    FROM taken AS t LEFT JOIN focus_cut AS c ON c.of_j = t.j AND c.d = t.h // 24
),
running AS (
    SELECT k, n, h, j, r, e, b,
        CAST(sum(r) OVER upto AS BIGINT) AS r_upto, CAST(sum(e) OVER upto AS BIGINT) AS e_upto, CAST(sum(b) OVER upto AS BIGINT) AS b_upto,
        j = max(j) OVER all_of AND {billion} - sum(r) OVER all_of < sum(pieces) OVER all_of AS fills
    FROM parted
    WINDOW upto AS (PARTITION BY k, n, h ORDER BY j ROWS UNBOUNDED PRECEDING), all_of AS (PARTITION BY k, n, h)
),
job_parts AS (
    SELECT k, n, h, CASE WHEN bool_or(fills) THEN {billion} ELSE max(r_upto) END AS r, sum(e) AS e, sum(b) AS b,
        list({j: j, r0: r_upto - r, r1: CASE WHEN fills THEN {billion} ELSE r_upto END, e0: e_upto - e, e1: e_upto,
            b0: b_upto - b, b1: b_upto} ORDER BY j) AS parts
    FROM running GROUP BY k, n, h
)
SELECT t.k, t.n, t.h,
    list_concat(COALESCE(p.parts, []), [{j: CAST(NULL AS INTEGER), r0: COALESCE(p.r, 0), r1: CAST({billion} AS BIGINT),
        e0: CAST(COALESCE(p.e, 0) AS BIGINT), e1: t.effective, b0: CAST(COALESCE(p.b, 0) AS BIGINT), b1: t.billed}]) AS parts
FROM focus_hour AS t LEFT JOIN job_parts AS p USING (k, n, h)
