-- The rows of a FOCUS file. In: focus_line, focus_share, focus_offset, focus_spread_share, focus_job. Grain: line x job, and
-- one more for what no job took. Every amount of a line is the difference of two running totals, so that its rows add up to it. A part
-- without a share is kept where rounding left it a nano: on the last line of the node hour.
COPY (
    WITH part AS (
        SELECT * EXCLUDE (parts), unnest(parts) AS p FROM (SELECT *, {tags} AS tags_text FROM ({lines}))
    ),
    amount AS (
        SELECT * EXCLUDE (p), p.j AS j, p.r0 AS r0, p.r1 AS r1, {effective} AS effective_part, {billed} AS billed_part
        FROM part WHERE p.r1 > p.r0 OR (last AND (p.e1 <> p.e0 OR p.b1 <> p.b0))
    )
    SELECT {columns}
    FROM amount AS line LEFT JOIN focus_job AS job USING (j)
) TO {file} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group_rows})
