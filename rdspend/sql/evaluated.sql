-- Evaluations of a release: jobs that read its checkpoints, are none of its runs, and are evaluations by what they run.
-- In: read_edge, walked, chain, ancestor, lineage_node, every_job, named_claim. Out: evaluated.
CREATE OR REPLACE TEMP TABLE evaluated AS
WITH looked AS (
    SELECT w.release, r.node, min(least(w.confidence, r.confidence)) AS confidence, max(coalesce(m.e, 9223372036854775807)) AS until,
        min(left(w.evidence || '; ' || r.node || ' read ' || r.path || ' (' || r.said || ')', 1000)) AS evidence
    FROM walked AS w JOIN read_edge AS r ON r.place = w.place AND r.chain = w.chain AND r.ord <= w.upto
    JOIN chain AS m ON m.place = w.place AND m.chain = w.chain AND m.ord = w.upto
    ANTI JOIN ancestor AS a ON a.release = w.release AND a.node = r.node
    GROUP BY w.release, r.node
),
known AS (
    SELECT job_key, {does} AS does FROM every_job SEMI JOIN (SELECT node AS job_key FROM looked) USING (job_key)
)
SELECT l.release, n.job_key, CASE WHEN n.s < l.until THEN 'training_evaluation' ELSE 'evaluation' END AS role,
    least(l.confidence, 0.9) AS confidence, l.evidence
FROM looked AS l JOIN lineage_node AS n USING (node) JOIN known USING (job_key)
JOIN (SELECT release, max(released) AS released FROM named_claim GROUP BY release) USING (release)
WHERE n.s < released AND does = 'evaluates'
