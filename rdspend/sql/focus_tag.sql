-- What won the right to say what each job, or each part of one that is cut, was for. In: tags, cut_job, job_span.
-- Out: focus_tag (job x part). A rule's id is its tagger and the name in quotes that its evidence begins with, or else the evidence's
-- first words.
CREATE OR REPLACE TEMP TABLE focus_tag AS
WITH part AS (
    SELECT job_key, part, s, e FROM job_span
    UNION ALL
    SELECT DISTINCT job_key, 0, NULL, NULL FROM tags ANTI JOIN cut_job USING (job_key)
),
answer AS (
    SELECT job_key, part, tagger, evidence, activity, role, release, confidence
    FROM part JOIN tags USING (job_key)
    WHERE activity IS NOT NULL AND (
        s IS NULL OR (COALESCE(epoch_us(segment_start), {earliest}) <= s AND COALESCE(epoch_us(segment_end), {latest}) >= e)
    )
),
winner AS (
    SELECT job_key, part, unnest(arg_min({activity: activity, role: COALESCE(role, ''), release: release, confidence: confidence,
        tagger: tagger, evidence: evidence}, {rank}))
    FROM answer GROUP BY job_key, part
)
SELECT job_key, part, {category} AS category, NULLIF(release, '') AS release, confidence,
    tagger || ':' || COALESCE(NULLIF(regexp_extract(evidence, '^[a-z]+ ''([^'']*)''', 1), ''),
        split_part(split_part(evidence, ': ', 1), ' by ', 1)) AS rule
FROM winner
