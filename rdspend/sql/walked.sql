-- Chains that releases come to, up to whom and when: from the nodes of one level to what they went on from and what they read.
-- In: ancestor, chain, read_edge. More rows of walked.
INSERT INTO walked
WITH here AS (SELECT * FROM ancestor WHERE level = $level),
own AS (
    SELECT h.release, c.place, c.chain, c.ord AS upto, CAST(NULL AS BIGINT) AS cut, true AS whole, h.confidence, h.evidence
    FROM here AS h JOIN chain AS c USING (node)
    WHERE NOT EXISTS (
        SELECT 1 FROM walked AS w WHERE w.release = h.release AND w.place = c.place AND w.chain = c.chain AND w.upto >= c.ord
    )
),
read AS (
    SELECT h.release, r.place, r.chain, r.ord, r.at, r.at IS NULL, least(h.confidence, r.confidence),
        left(h.evidence || '; ' || CASE WHEN starts_with(h.node, 'claim:') THEN '' ELSE h.node || ' ' END || 'read ' || r.path
            || CASE WHEN starts_with(h.node, 'claim:') THEN '' ELSE ' (' || r.said || ')' END, 900)
    FROM here AS h JOIN read_edge AS r USING (node)
)
SELECT release, place, chain, upto, cut, whole, confidence, evidence, $level AS level
FROM (FROM own UNION ALL FROM read) AS found
WHERE NOT EXISTS (
    SELECT 1 FROM walked AS w WHERE w.release = found.release AND w.place = found.place AND w.chain = found.chain AND w.upto > found.upto
)
