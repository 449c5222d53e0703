-- Which chain those who are asked about read from, and up to whom. In: seeker, file_use, lineage_node, chain, written. More rows of
-- read_edge (reader -> place, chain, ord).
-- A path in a folder that somebody wrote is read from there, from the nearest such folder. Who wrote the very step comes first, then the
-- last who began before the reader; who began while it ran comes last.
INSERT INTO read_edge
WITH read AS (
    SELECT node, path, place, max(step) AS step, min(confidence) AS confidence, min(said) AS said
    FROM file_use SEMI JOIN seeker USING (node) WHERE use = 'read' GROUP BY node, path, place
),
own AS (SELECT node, place FROM chain SEMI JOIN seeker USING (node)),
wanted AS (
    SELECT r.* EXCLUDE (place), up, {upper} AS place
    FROM read AS r, (VALUES (0), (1), (2), (3)) AS ups(up)
),
nearest AS (
    SELECT w.*, n.s, n.e FROM wanted AS w JOIN written USING (place) ANTI JOIN own USING (node, place) JOIN lineage_node AS n USING (node)
    WHERE up = 0 OR writers = 1
    QUALIFY row_number() OVER (PARTITION BY w.node, w.path ORDER BY up) = 1
),
stepped AS (
    SELECT c.place, c.chain, c.ord, c.node, c.s, f.step, max(f.at) AS "at"
    FROM file_use AS f JOIN chain AS c USING (place, node) SEMI JOIN nearest USING (place)
    WHERE f.use = 'write' AND f.step IS NOT NULL GROUP BY ALL
),
near AS (FROM chain SEMI JOIN nearest USING (place)),
found AS (
    SELECT r.node, r.path, r.said, r.confidence, c.place, c.chain, c.ord, c.at,
        CASE WHEN coalesce(c.s < r.s, true) THEN 0 ELSE 3 END AS worse, c.s
    FROM nearest AS r JOIN stepped AS c ON c.place = r.place AND c.step = r.step
    WHERE coalesce(c.s < r.s, true) OR coalesce(c.s < r.e, true)
    UNION ALL
    SELECT r.node, r.path, r.said, r.confidence, c.place, c.chain, c.ord, NULL, 1, c.s
    FROM nearest AS r ASOF JOIN near AS c ON r.place = c.place AND r.s > c.s
    UNION ALL
    SELECT r.node, r.path, r.said, r.confidence, c.place, c.chain, c.ord, NULL, 2, c.s
    FROM (FROM nearest WHERE s IS NULL) AS r JOIN near AS c USING (place)
    UNION ALL
    SELECT r.node, r.path, r.said, r.confidence, c.place, c.chain, c.ord, NULL, 2, c.s
    FROM nearest AS r JOIN (FROM near WHERE s IS NULL) AS c USING (place)
    UNION ALL
    SELECT r.node, r.path, r.said, r.confidence, c.place, c.chain, c.ord, NULL, 4, c.s
    FROM nearest AS r ASOF JOIN near AS c ON r.place = c.place AND r.s <= c.s
    WHERE coalesce(c.s < r.e, true)
)
SELECT node, path, said, confidence, place, chain, ord, "at", worse FROM found
QUALIFY row_number() OVER (PARTITION BY node, path ORDER BY worse, CASE WHEN worse < 3 THEN -s ELSE s END, ord DESC) = 1
