-- What a person needs to see of each question: how much it is, whose, and examples, the dearest first. In: review_job, jobs, wanted.
SELECT w.number, count(DISTINCT r.job_key), CAST(sum(r.effective) AS HUGEINT), CAST(sum(r.gpu_part_seconds) AS HUGEINT),
    count(DISTINCT r.whose),
    arg_max({'name': j.name, 'command': j.command, 'folder': j.work_dir, 'whose': r.whose}, (r.weighs, r.job_key), 60)
FROM wanted AS w JOIN review_job AS r ON r.family = w.family AND (w.whose = '' OR r.whose = w.whose) JOIN jobs AS j USING (job_key)
GROUP BY w.number ORDER BY w.number
