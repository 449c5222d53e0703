-- The teams with most money, then GPU time: those that a breakdown names. Jobs of no known team always stay apart.
-- In: job_money. Out: named_team (team).
CREATE OR REPLACE TEMP TABLE named_team AS
SELECT team FROM (
    SELECT team, greatest(abs(sum(effective)), abs(sum(billed))) AS size, sum(gpu_part_seconds) AS parts
    FROM job_money WHERE team <> '' AND team <> {other} GROUP BY team
) ORDER BY size DESC, parts DESC, team LIMIT {most}
