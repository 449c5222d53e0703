-- What each piece would be for, were the answers in the ledger: its own, or that of families like it where nobody of more authority
-- spoke. In: review_piece, answered. Out: review_money (piece, columns as of job_money, and who says so).
CREATE OR REPLACE TEMP TABLE review_money AS
SELECT p.job_key, 0 AS part, p.effective, p.billed, p.basis, p.gpu_part_seconds, {category} AS category, p.stage, p.role, p.release,
    p.activity, p.team, '' AS cluster, p.family AS name, p.outcome, p.tagger, p.confidence, p.chances, p.family
FROM (
    SELECT p.* REPLACE (
            COALESCE(a.activity, p.activity) AS activity,
            CASE WHEN a.activity IS NULL THEN p.role ELSE '' END AS role,
            COALESCE(a.tagger, p.tagger) AS tagger,
            COALESCE(a.confidence, p.confidence) AS confidence,
            CASE WHEN a.activity IS NULL THEN p.chances ELSE a.chances END AS chances
        )
    FROM review_piece AS p LEFT JOIN answered AS a
        ON a.family = p.family AND a.whose = p.whose AND p.kind_rank >= a.yields_to
) AS p
