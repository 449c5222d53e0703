-- R&D money that no release claims, by project, and what each release's own runs of that project cost: the rule for assigning it.
-- In: job_money, jobs, released. One row a project and release; release null: no release has runs in the project.
WITH rest AS (
    SELECT COALESCE(j.project, j.account, '') AS project, m.category, sum(effective) AS effective, sum(gpu_part_seconds) AS parts,
        count(*) AS jobs
    FROM job_money AS m JOIN jobs AS j USING (job_key)
    WHERE m.release = '' AND m.category IN ({denominator}) GROUP BY ALL
),
own AS (
    SELECT project, release, sum(effective) AS effective FROM released
    WHERE role IN ('run', 'rollout') AND project <> '' GROUP BY ALL HAVING sum(effective) > 0
)
SELECT rest.project, rest.category, rest.effective, rest.parts, rest.jobs, own.release, own.effective
FROM rest LEFT JOIN own USING (project)
ORDER BY rest.project, rest.category, own.release
