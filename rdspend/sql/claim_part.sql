-- What a release says of a job, or of each segment of it: of claims that overlap the strongest holds. In: said_claim (release x job x
-- segment, times null: from the start, to the end; a lower rank is stronger). Out: claim_part.
CREATE OR REPLACE TEMP TABLE claim_part AS
WITH said AS (
    SELECT *, coalesce(first, -9223372036854775807) AS s, coalesce(last, 9223372036854775807) AS e FROM said_claim
),
cut AS (SELECT DISTINCT release, job_key FROM said_claim WHERE first IS NOT NULL OR last IS NOT NULL),
whole AS (
    SELECT release, job_key, role, stage, weight, confidence, evidence FROM said_claim ANTI JOIN cut USING (release, job_key)
    QUALIFY row_number() OVER (PARTITION BY release, job_key ORDER BY rank, evidence) = 1
),
border AS (
    SELECT release, job_key, s AS b FROM said SEMI JOIN cut USING (release, job_key)
    UNION SELECT release, job_key, e FROM said SEMI JOIN cut USING (release, job_key)
),
span AS (SELECT *, lead(b) OVER (PARTITION BY release, job_key ORDER BY b) AS until FROM border),
part AS (
    SELECT span.b, span.until, said.* EXCLUDE (first, last, s, e)
    FROM span JOIN said ON said.release = span.release AND said.job_key = span.job_key AND said.s <= span.b AND said.e >= span.until
    QUALIFY row_number() OVER (PARTITION BY span.release, span.job_key, span.b ORDER BY rank, evidence) = 1
),
beside AS (
    SELECT *, lag(until) OVER (PARTITION BY release, job_key, rank, role, evidence ORDER BY b) IS DISTINCT FROM b AS fresh FROM part
),
island AS (
    SELECT *, sum(CAST(fresh AS INTEGER)) OVER (PARTITION BY release, job_key, rank, role, evidence ORDER BY b) AS island FROM beside
)
SELECT release, job_key, CAST(NULL AS BIGINT) AS first, CAST(NULL AS BIGINT) AS last, role, stage, weight, confidence, evidence FROM whole
UNION ALL
SELECT release, job_key, nullif(min(b), -9223372036854775807), nullif(max(until), 9223372036854775807),
    role, any_value(stage), any_value(weight), any_value(confidence), evidence
FROM island GROUP BY release, job_key, rank, role, evidence, island
