-- Who made what the nodes of one level read: who wrote the same path, a part of it, or the folder it is in, and began before the last
-- reader. In: data_source, data_read, data_written, lineage_node. More rows of data_source.
INSERT INTO data_source
WITH place AS (
    SELECT d.release, r.place, r.up, max(n.s) AS before, max(least(d.confidence, r.confidence)) AS confidence, min(d.role) AS role,
        min(left(d.evidence || '; ' || CASE WHEN starts_with(d.node, 'claim:') THEN '' ELSE d.node || ' ' END || 'read ' || r.path, 900))
            AS evidence
    FROM data_source AS d JOIN data_read AS r USING (node) JOIN lineage_node AS n USING (node)
    WHERE d.level = $level GROUP BY d.release, r.place, r.up
)
SELECT p.release, w.node, max(least(p.confidence, w.confidence)), min(p.evidence || ', written by ' || w.node || ' (' || w.said || ')'),
    coalesce(min(p.role), 'data'), $level + 1
FROM place AS p JOIN data_written AS w USING (place)
WHERE w.s < p.before AND (p.up = 0 OR w.up = 0) AND (p.up + w.up = 0 OR regexp_matches(place, '/[^/]+/[^/]+$'))
    AND NOT EXISTS (SELECT 1 FROM data_source AS a WHERE a.release = p.release AND a.node = w.node)
GROUP BY p.release, w.node
