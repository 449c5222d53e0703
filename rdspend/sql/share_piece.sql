-- Pieces ready for the join: crowded ones rescaled, shares in lowest terms. In: piece, rescaled, crowded. Out: share_piece.
CREATE OR REPLACE TEMP TABLE share_piece AS
SELECT j, n, s, e, gpu_parts, unknown,
    CASE WHEN unknown THEN num ELSE num // gcd(num, den) END AS num,
    CASE WHEN unknown THEN den ELSE den // gcd(num, den) END AS den
FROM (
    SELECT j, n, s, e, gpu_parts, unknown, num, den FROM piece ANTI JOIN crowded USING (n)
    UNION ALL
    SELECT j, n, s, e, gpu_parts, unknown, num, den FROM rescaled
)
