-- How many records of a table (nodes or rates) one revision has between $low and $high (epoch seconds) and the other has not,
-- wherever they were read; what they say of other times does not count. In: the two views.
WITH before AS (
    SELECT {columns}, greatest(start_time, to_timestamp($low)) AS start_time, least(end_time, to_timestamp($high)) AS end_time
    FROM before_{table}
),
after AS (
    SELECT {columns}, greatest(start_time, to_timestamp($low)) AS start_time, least(end_time, to_timestamp($high)) AS end_time
    FROM after_{table}
),
then_valid AS (SELECT * FROM before WHERE start_time < end_time),
now_valid AS (SELECT * FROM after WHERE start_time < end_time)
SELECT (SELECT count(*) FROM (FROM then_valid EXCEPT FROM now_valid)) + (SELECT count(*) FROM (FROM now_valid EXCEPT FROM then_valid))
    AS records
