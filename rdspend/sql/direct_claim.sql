-- Jobs that releases name themselves, the ambiguous left out. In: direct_match, named_claim. Out: direct_claim.
CREATE OR REPLACE TEMP TABLE direct_claim AS
SELECT c.row, c.release, m.job_key, CASE WHEN m.kept THEN 'run' ELSE c.role END AS role, c.stage, c.first, c.last, c.weight, c.claim,
    CAST(1.0 AS DOUBLE) AS confidence,
    c.at || CASE c.kind WHEN 'job' THEN ' names job ' || c.value ELSE ' names jobs ' || c.value END
    || CASE WHEN m.kept THEN ', of which it was kept' ELSE '' END AS evidence
FROM direct_match AS m JOIN named_claim AS c USING (row)
WHERE NOT EXISTS (SELECT 1 FROM doubtful WHERE doubtful.row = c.row)
