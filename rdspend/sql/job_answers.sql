-- All answers of all taggers for one job. In: tags. Times as text, and as microseconds since 1970 without an end.
SELECT tagger, activity, stage, confidence, evidence, chances, role, release,
    strftime(timezone('UTC', segment_start), '%Y-%m-%dT%H:%M:%SZ') AS start, strftime(timezone('UTC', segment_end), '%Y-%m-%dT%H:%M:%SZ') AS "end",
    COALESCE(epoch_us(segment_start), -9223372036854775807) AS since, COALESCE(epoch_us(segment_end), 9223372036854775807) AS until
FROM tags WHERE job_key = $job_key
