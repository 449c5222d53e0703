-- Jobs that a release names by id, key or name, before what it leaves out. In: named_claim, lineage_job. Out: direct_match.
-- {patterns} is a list with the row numbers of named_claim whose pattern a job's name has.
CREATE OR REPLACE TEMP TABLE direct_match AS
WITH by_name AS (
    SELECT job_key, unnest(list_filter({patterns}, lambda row: row IS NOT NULL)) AS row FROM lineage_job WHERE {any_pattern}
),
by_id AS MATERIALIZED (
    SELECT c.row, j.job_key FROM named_claim AS c JOIN lineage_job AS j ON j.job_key = c.value WHERE kind = 'job'
    UNION SELECT c.row, j.job_key FROM named_claim AS c JOIN lineage_job AS j ON j.job_id = c.value WHERE kind = 'job'
    UNION SELECT c.row, j.job_key FROM named_claim AS c JOIN lineage_job AS j ON j.array_job_id = c.value WHERE kind = 'job'
    UNION SELECT row, job_key FROM by_name
),
matched AS MATERIALIZED (SELECT by_id.row, j.* FROM by_id JOIN lineage_job AS j USING (job_key))
SELECT c.row, c.kind, c.value, j.job_key, j.cluster, j.job_id, j.array_job_id, j."user", j.name, j.s,
    coalesce(len(list_filter(c.keep, lambda kept: kept IN (j.job_key, j.job_id) OR coalesce(j.name, '') GLOB kept)) > 0, false) AS kept
FROM matched AS j JOIN named_claim AS c USING (row)
WHERE j.s < c.released AND coalesce(j.s >= c.since, true) AND coalesce(j.s < c.until, true)
    AND coalesce(j.cluster = c.cluster, c.cluster IS NULL) AND coalesce(j."user" = c."user", c."user" IS NULL)
    AND coalesce(j.account = c.account, c.account IS NULL)
    AND coalesce(len(list_filter(c.but, lambda left_out: left_out IN (j.job_key, j.job_id) OR coalesce(j.name, '') GLOB left_out)), 0) = 0
