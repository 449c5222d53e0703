-- Who wrote a place, one after the other; those that went on from what was there are one chain. In: file_use, lineage_node, every_job.
-- Out: chain. A job goes on where it reads the place that it writes, or is the same job, started again. One that reads what it writes and is
-- an evaluation only looks at it; so does one whose option may mean either, unless it trains.
CREATE OR REPLACE TEMP TABLE chain AS
WITH wrote AS (
    SELECT place, node, min(confidence) AS confidence, min(said) AS said, bool_and(use = 'training_write') AS either
    FROM file_use WHERE use IN ('write', 'training_write') GROUP BY place, node
),
itself AS (SELECT DISTINCT w.place, w.node FROM wrote AS w JOIN file_use AS f ON f.use = 'read' AND f.node = w.node AND f.place = w.place),
known AS (
    SELECT job_key AS node, {does} AS does FROM every_job WHERE job_key IN (SELECT node FROM itself UNION SELECT node FROM wrote WHERE either)
),
ordered AS (
    SELECT w.* EXCLUDE (either), n.s, n.e, n.cluster, n.job_id, n.name, n."user", n.outcome, i.node IS NOT NULL AS goes_on,
        row_number() OVER following AS ord, lag(n.cluster || '/' || n.job_id) OVER following AS job_before
    FROM wrote AS w JOIN lineage_node AS n USING (node) LEFT JOIN itself AS i USING (place, node) LEFT JOIN known AS k USING (node)
    WHERE CASE WHEN either THEN coalesce(k.does = 'trains', false) WHEN i.node IS NOT NULL THEN coalesce(k.does <> 'evaluates', true) ELSE true END
    WINDOW following AS (PARTITION BY w.place ORDER BY n.s NULLS FIRST, w.node)
)
SELECT * EXCLUDE (goes_on, job_before), sum(CAST(NOT (ord > 1 AND (goes_on OR coalesce(job_before = cluster || '/' || job_id, false))) AS INTEGER))
    OVER (PARTITION BY place ORDER BY ord) AS chain
FROM ordered
