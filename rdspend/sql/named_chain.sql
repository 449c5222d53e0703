-- Who wrote a checkpoint or model that a release names, with those whose work it went on from. In: named_claim, read_edge, chain.
-- Out: named_chain.
CREATE OR REPLACE TEMP TABLE named_chain AS
SELECT c.row, c.release, m.node, least(r.confidence, m.confidence) AS confidence,
    c.at || ' names ' || c.kind || ' ' || c.value || ', written by ' || m.node || ' (' || m.said || ')' AS evidence
FROM named_claim AS c JOIN read_edge AS r ON r.node = 'claim:' || c.row
JOIN chain AS m ON m.place = r.place AND m.chain = r.chain AND m.ord <= r.ord
WHERE c.kind IN ('checkpoint', 'model') AND c.row NOT IN (SELECT row FROM doubtful_read)
