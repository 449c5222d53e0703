-- Steps of the walk that lead to somebody who did not begin earlier: only those can close a circle. In: ancestor, read_edge, chain,
-- lineage_node.
SELECT a.release, r.node AS reader, c.node AS writer, r.path, bool_or(coalesce(w.s >= n.s, true)) AS backward
FROM ancestor AS a JOIN read_edge AS r USING (node) JOIN chain AS c ON c.place = r.place AND c.chain = r.chain AND c.ord = r.ord
JOIN lineage_node AS n ON n.node = r.node JOIN lineage_node AS w ON w.node = c.node
GROUP BY a.release, r.node, c.node, r.path
UNION ALL
SELECT a.release, c.node, b.node, c.place, false
FROM ancestor AS a JOIN chain AS c USING (node) JOIN chain AS b ON b.place = c.place AND b.chain = c.chain AND b.ord = c.ord - 1
ORDER BY ALL
