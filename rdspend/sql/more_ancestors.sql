-- The nodes of the chains of one level that the release has not come to yet. In: walked, chain, ancestor. More rows of ancestor.
INSERT INTO ancestor
SELECT w.release, c.node, min(least(w.confidence, c.confidence)),
    arg_min(left(w.evidence || ', written by ' || c.node || ' (' || c.said || ')', 1000), (w.confidence * -1, w.evidence)), $level + 1
FROM walked AS w JOIN chain AS c ON c.place = w.place AND c.chain = w.chain AND c.ord <= w.upto
WHERE w.level = $level AND NOT EXISTS (SELECT 1 FROM ancestor AS a WHERE a.release = w.release AND a.node = c.node)
GROUP BY w.release, c.node
