-- What jobs read and wrote, tracked runs that are no job we know, versions of a registry, and releases: those read what they name.
-- In: said_file, artifacts, tracked_runs, tracked_job, lineage_job, named_claim. Out: file_use (node: job key, `run:SOURCE/ID`,
-- `version:URI` or `claim:ROW`; use: read, write, training_write, data_read, data_write; times in microseconds since 1970).
CREATE OR REPLACE TEMP TABLE file_use AS
WITH only_cluster AS (SELECT min(cluster) AS cluster FROM lineage_job HAVING count(DISTINCT cluster) = 1),
tracked AS (
    SELECT coalesce(t.job_key, 'run:' || a.source || '/' || a.run_id) AS node, a.direction, a.kind, a.uri, epoch_us(a.at) AS "at",
        coalesce(t.confidence, CAST(1.0 AS DOUBLE)) AS confidence, a.source || ' run ' || a.run_id AS said,
        coalesce(j.cluster, r.cluster, (SELECT cluster FROM only_cluster), '') AS cluster, j.work_dir
    FROM artifacts AS a LEFT JOIN tracked_job AS t USING (source, run_id) LEFT JOIN tracked_runs AS r USING (source, run_id)
    LEFT JOIN lineage_job AS j ON j.job_key = t.job_key
    WHERE a.run_id IS NOT NULL
    UNION ALL
    -- Who registered a version without naming a run copied it from where it was.
    SELECT 'version:' || v.uri, CASE WHEN a.uri = v.uri THEN 'write' ELSE 'read' END, a.kind, a.uri, epoch_us(a.at), CAST(1.0 AS DOUBLE), a.source,
        coalesce((SELECT cluster FROM only_cluster), ''), NULL
    FROM artifacts AS a JOIN artifacts AS v USING (source, origin_file)
    WHERE a.run_id IS NULL AND v.run_id IS NULL AND starts_with(v.uri, 'models:/') AND a.kind <> 'dataset'
        AND (a.uri = v.uri OR NOT starts_with(a.uri, 'models:/'))
    UNION ALL
    SELECT 'claim:' || c.row, 'read', c.kind, CASE c.kind WHEN 'model' THEN 'models:/' || c.value ELSE c.value END, NULL, CAST(1.0 AS DOUBLE), c.at,
        coalesce(c.cluster, j.cluster), NULL
    FROM named_claim AS c, (SELECT DISTINCT cluster FROM lineage_job) AS j
    WHERE c.kind IN ('model', 'checkpoint', 'dataset')
    UNION ALL
    SELECT coalesce(t.job_key, 'run:' || r.source || '/' || r.run_id), 'write', unnest(['model', 'dataset']), 'runs:/' || r.run_id, NULL,
        coalesce(t.confidence, CAST(1.0 AS DOUBLE)), r.source || ' run ' || r.run_id, '', NULL
    FROM tracked_runs AS r LEFT JOIN tracked_job AS t USING (source, run_id)
),
used AS (
    SELECT node, CASE WHEN kind = 'dataset' THEN 'data_' ELSE '' END || direction AS use,
        CASE WHEN kind = 'dataset' AND NOT regexp_matches(uri, '^(/|[a-z][a-z0-9+.-]*:)') THEN 'dataset:' || uri ELSE {tracked_path} END
            AS path,
        "at", confidence, said, CAST(NULL AS BIGINT) AS step
    FROM tracked
    UNION ALL
    SELECT job_key, use, path, NULL, CAST(0.95 AS DOUBLE), '--' || option, step FROM said_file WHERE use <> 'resume'
    UNION ALL
    -- Who goes on from what is in the own folder reads what it writes.
    SELECT w.job_key, 'read', w.path, NULL, CAST(0.95 AS DOUBLE), '--' || r.option, NULL
    FROM said_file AS w JOIN said_file AS r USING (job_key) WHERE w.use IN ('write', 'training_write') AND r.use = 'resume'
)
SELECT DISTINCT node, use, path, CASE WHEN use IN ('read', 'write', 'training_write') THEN {place} ELSE {data} END AS place,
    coalesce({step}, CASE WHEN use = 'read' THEN step END) AS step, "at", confidence, said
FROM used WHERE path IS NOT NULL
