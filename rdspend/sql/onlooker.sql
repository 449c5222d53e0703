-- Who read what the releases' own runs wrote, and is none of them. In: file_use, walked, ancestor, read_edge. Out: onlooker.
CREATE OR REPLACE TEMP TABLE onlooker AS
SELECT DISTINCT node FROM (
    SELECT node, {upper} AS place
    FROM file_use, (VALUES (0), (1), (2), (3)) AS ups(up) WHERE use = 'read'
)
WHERE place IN (SELECT place FROM walked) AND node NOT IN (SELECT node FROM read_edge UNION ALL SELECT node FROM ancestor)
