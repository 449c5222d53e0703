-- Answers that hold now, as answers for the whole job: nobody is asked what a running job was yesterday. In: every_tag (tags).
-- Out: tags_now.
CREATE OR REPLACE TEMP TABLE tags_now AS
SELECT * REPLACE (CAST(NULL AS TIMESTAMPTZ) AS segment_start, CAST(NULL AS TIMESTAMPTZ) AS segment_end) FROM every_tag
WHERE COALESCE(epoch_us(segment_start) // 1000000 < $last, true) AND COALESCE(epoch_us(segment_end) // 1000000 >= $last, true)
