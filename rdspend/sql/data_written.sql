-- Where somebody wrote data: the path, and the folder it is in. In: file_use, lineage_node, data_read. Out: data_written.
CREATE OR REPLACE TEMP TABLE data_written AS
SELECT node, n.s, said, confidence, up, place
FROM (
    SELECT node, said, confidence, up, CASE up WHEN 0 THEN place ELSE regexp_replace(place, '/[^/]+$', '') END AS place
    FROM file_use, (VALUES (0), (1)) AS ups(up) WHERE use = 'data_write'
)
SEMI JOIN (SELECT DISTINCT place FROM data_read) AS wanted USING (place) JOIN lineage_node AS n USING (node)
