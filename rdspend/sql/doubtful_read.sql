-- Paths that releases name and that were written on several clusters. In: read_edge. Out: doubtful_read.
CREATE OR REPLACE TEMP TABLE doubtful_read AS
SELECT CAST(substr(node, 7) AS BIGINT) AS row, string_agg(DISTINCT place, ', ' ORDER BY place) AS named
FROM read_edge WHERE starts_with(node, 'claim:') GROUP BY node HAVING count(DISTINCT place) > 1
