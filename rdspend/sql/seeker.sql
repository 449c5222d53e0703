-- Who is asked next what it read: the nodes that the walk came to last, at first with all that is named. In: ancestor, named_claim,
-- read_edge. Out: seeker.
CREATE OR REPLACE TEMP TABLE seeker AS
SELECT DISTINCT node FROM (
    SELECT node FROM ancestor WHERE level = $level UNION ALL SELECT 'claim:' || row FROM named_claim WHERE $level = 0
)
WHERE node NOT IN (SELECT node FROM read_edge)
