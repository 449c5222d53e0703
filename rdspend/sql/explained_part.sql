-- The parts of a job that answers cut, in time. In: job_money, job_span. Times are text, to the second.
SELECT strftime(make_timestamp(s), '%Y-%m-%dT%H:%M:%SZ'), CASE WHEN e < {latest} THEN strftime(make_timestamp(e), '%Y-%m-%dT%H:%M:%SZ') ELSE '' END,
    m.category, m.stage, m.role, m.release, m.effective, m.billed, m.gpu_part_seconds
FROM job_money AS m JOIN job_span USING (job_key, part)
WHERE job_key = $job_key ORDER BY m.part
