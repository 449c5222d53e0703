-- Rows without a value by file and column, from the footers of Parquet files alone. A map's keys are null where it is null or empty.
-- Null: the file has no statistics of the column.
SELECT file_name, split_part(path_in_schema, ', ', 1) AS "column",
    CASE WHEN count(stats_null_count) = count(*) THEN CAST(sum(stats_null_count) AS BIGINT) END AS nulls
FROM parquet_metadata([{files}])
WHERE path_in_schema NOT LIKE '%, value'
GROUP BY ALL
