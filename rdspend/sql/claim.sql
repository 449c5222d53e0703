-- The claims of all releases, as the ledger keeps them. In: claim_part, named_claim. Out: claim (columns of CLAIMS).
-- A release that was withdrawn before anybody had it has no runs: they are superseded.
CREATE OR REPLACE TEMP TABLE claim AS
WITH withdrawn AS (SELECT DISTINCT release FROM named_claim WHERE withdrawn),
told AS (
    SELECT p.*, CASE WHEN w.release IS NOT NULL AND p.role IN ('run', 'lost', 'rollout') THEN 'superseded' ELSE p.role END AS now
    FROM claim_part AS p LEFT JOIN withdrawn AS w USING (release)
)
SELECT release, job_key, now AS role, {activity} AS activity, stage, make_timestamptz(first) AS segment_start,
    make_timestamptz(last) AS segment_end, weight, confidence, evidence
FROM told
ORDER BY release, job_key, first
