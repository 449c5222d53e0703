-- From when on the work of an ancestor is not in what came out: it was rolled back, or lost at a restart. In: walked, chain, file_use,
-- lineage_node. Out: lost_part. Only where it is known when the checkpoint was written that the next one went on from.
CREATE OR REPLACE TEMP TABLE lost_part AS
WITH saved AS (
    SELECT f.place, c.chain, c.ord, f.step, f.at FROM file_use AS f JOIN chain AS c USING (place, node) WHERE f.use = 'write' AND f.at IS NOT NULL
),
resumed AS (
    SELECT c.place, c.chain, c.ord, c.s, max(r.step) AS step
    FROM chain AS c LEFT JOIN file_use AS r ON r.use = 'read' AND r.node = c.node AND r.place = c.place
    WHERE c.ord > 1 GROUP BY ALL
),
gone_on AS (
    SELECT r.place, r.chain, r.ord, r.step, max(s.at) AS "at"
    FROM resumed AS r JOIN saved AS s ON s.place = r.place AND s.chain = r.chain AND s.ord < r.ord AND s.at <= r.s
        AND coalesce(s.step = r.step, r.step IS NULL)
    GROUP BY r.place, r.chain, r.ord, r.step
),
reached AS (
    SELECT release, place, chain, upto, CASE WHEN bool_or(whole) THEN NULL ELSE max(cut) END AS cut, min(evidence) AS evidence
    FROM (SELECT *, max(upto) OVER (PARTITION BY release, place, chain) AS most FROM walked) WHERE upto = most
    GROUP BY release, place, chain, upto
),
lost AS (
    SELECT w.release, m.node, m.s, m.e, g.at,
        n.node || ' went on from ' || coalesce('step ' || g.step, 'what was saved last') || ' of ' || w.place AS why
    FROM reached AS w JOIN gone_on AS g ON g.place = w.place AND g.chain = w.chain AND g.ord <= w.upto
    JOIN chain AS m ON m.place = w.place AND m.chain = w.chain AND m.ord < g.ord
    JOIN chain AS n ON n.place = w.place AND n.chain = w.chain AND n.ord = g.ord
    WHERE g.step IS NOT NULL OR (m.ord = g.ord - 1 AND m.outcome <> 'completed')
    UNION ALL
    SELECT w.release, m.node, m.s, m.e, w.cut, 'what came out is from before, of ' || w.place
    FROM reached AS w JOIN chain AS m ON m.place = w.place AND m.chain = w.chain AND m.ord <= w.upto WHERE w.cut IS NOT NULL
)
SELECT release, node, nullif(greatest(min("at"), any_value(s)), any_value(s)) AS first, arg_min(why, "at") AS why
FROM lost WHERE "at" < coalesce(e, 9223372036854775807) GROUP BY release, node
