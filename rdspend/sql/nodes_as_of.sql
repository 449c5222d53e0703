-- A cluster's nodes as they are now, with their history. In: present_nodes (node), known_nodes (node x span). Out: nodes_as_of (node x span).
-- A node that is new in a cluster already known is there since the cluster was last seen. A record that is the same node, resource and capacity goes on; one that is no longer there, or is another resource now, ends as of now; one that lies in a present one of the same resource is that.
CREATE OR REPLACE TEMP TABLE nodes_as_of AS
WITH present AS (
    SELECT p.* REPLACE (
        CASE
            WHEN p.start_time IS NOT NULL THEN p.start_time
            WHEN same.node IS NOT NULL THEN same.start_time
            WHEN EXISTS (SELECT 1 FROM known_nodes AS k WHERE k.node = p.node) THEN {as_of}
            WHEN EXISTS (SELECT 1 FROM known_nodes) THEN {last_seen}
        END AS start_time)
    FROM present_nodes AS p
    LEFT JOIN known_nodes AS same
        ON same.node = p.node AND same.end_time IS NULL AND same.resource_id IS NOT DISTINCT FROM p.resource_id
        AND same.gpu_parts IS NOT DISTINCT FROM p.gpu_parts
),
past AS (
    SELECT k.* REPLACE (COALESCE(k.end_time, least({as_of}, COALESCE((
            SELECT min(p.start_time) FROM present AS p
            WHERE p.node = k.node AND p.start_time > COALESCE(k.start_time, TIMESTAMPTZ '0001-01-01 00:00:00Z')
        ), {as_of}))) AS end_time)
    FROM known_nodes AS k
    WHERE NOT EXISTS (
        SELECT 1 FROM present AS p
        WHERE p.node = k.node AND p.start_time IS NOT DISTINCT FROM k.start_time AND p.resource_id IS NOT DISTINCT FROM k.resource_id
    ) AND NOT EXISTS (
        SELECT 1 FROM present AS p
        WHERE p.node = k.node AND p.resource_id IS NOT DISTINCT FROM k.resource_id
            AND p.start_time <= k.start_time AND k.end_time <= COALESCE(p.end_time, k.end_time)
    )
)
SELECT * FROM present
UNION ALL BY NAME
SELECT * FROM past WHERE COALESCE(start_time, TIMESTAMPTZ '0001-01-01 00:00:00Z') < end_time
