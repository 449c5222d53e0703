-- Pieces of crowded node records, cut at every start and end; where more is held than there is, what is held is the whole.
-- In: piece, crowded. Out: rescaled (job x node record x span).
CREATE OR REPLACE TEMP TABLE rescaled AS
WITH edge AS (
    SELECT n, t, lead(t) OVER (PARTITION BY n ORDER BY t) AS next FROM (
        SELECT n, s AS t FROM piece SEMI JOIN crowded USING (n) UNION SELECT n, e AS t FROM piece SEMI JOIN crowded USING (n)
    )
),
cut AS (
    SELECT p.j, p.n, edge.t AS s, edge.next AS e, p.gpu_parts, p.unknown, p.num, p.den,
        sum(p.num) OVER (PARTITION BY p.n, edge.t) AS held
    FROM piece AS p JOIN edge ON edge.n = p.n AND edge.t >= p.s AND edge.next <= p.e
)
SELECT j, n, s, e, gpu_parts, unknown, num, CAST(greatest(den, held) AS BIGINT) AS den FROM cut
