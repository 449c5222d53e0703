-- All that releases say of jobs, a lower rank being stronger: what they name in its order, then runs that these came from, data, and
-- evaluations. In: direct_claim, named_run, named_chain, ancestor, data_source, evaluated, named_claim, lineage_job. Out: said_claim.
-- A segment keeps to the job: what it has before the start or after the end says nothing, and one outside of it is none.
CREATE OR REPLACE TEMP TABLE said_claim AS
WITH weight AS (SELECT release, min(weight) AS weight, max(released) AS released FROM named_claim GROUP BY release),
named AS (
    SELECT release, job_key, role, stage, first, last, weight, confidence, evidence, claim * 2 AS rank FROM direct_claim
    UNION ALL
    SELECT c.release, r.job_key, c.role, c.stage, c.first, c.last, c.weight, r.confidence, c.at || ' names ' || r.source || ' run ' || r.run_id,
        c.claim * 2
    FROM named_run AS r JOIN named_claim AS c USING (row) WHERE r.job_key IS NOT NULL
    UNION ALL
    SELECT c.release, r.node, c.role, c.stage, c.first, c.last, c.weight, r.confidence, r.evidence, c.claim * 2
    FROM named_chain AS r JOIN named_claim AS c USING (row)
),
found AS (
    SELECT release, node AS job_key, 'run' AS role, NULL AS stage, confidence, evidence, 1000000000 AS rank FROM ancestor
    UNION ALL
    SELECT release, node, role, 'data', confidence, evidence, 2000000000 FROM data_source WHERE role IS NOT NULL
    UNION ALL
    SELECT release, job_key, role, 'evaluation', confidence, evidence, 3000000000 FROM evaluated
),
said AS MATERIALIZED (
    SELECT * FROM named
    UNION ALL
    -- Of what a release names itself, only that is said which it says.
    SELECT release, job_key, role, stage, NULL, NULL, weight, confidence, evidence, rank
    FROM found JOIN weight USING (release) ANTI JOIN named USING (release, job_key)
)
SELECT release, c.job_key, c.role, c.stage, CASE WHEN c.first > j.s THEN c.first END AS first,
    CASE WHEN c.last < coalesce(j.e, 9223372036854775807) THEN c.last END AS last, c.weight, c.confidence, c.evidence, c.rank
FROM said AS c JOIN lineage_job AS j USING (job_key) JOIN weight USING (release)
WHERE coalesce(c.first < j.e, true) AND coalesce(c.last > j.s, true) AND j.s < released
