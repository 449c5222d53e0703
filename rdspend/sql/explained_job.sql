-- One job with its money, all parts of one that is cut together; it is called what its dearest part is. The last two columns are what
-- it bears of idle and shared money, which is in the others. In: job_money.
SELECT job_key, any_value(name), any_value(team), arg_max(category, effective), arg_max(stage, effective), any_value(outcome),
    sum(effective), sum(gpu_part_seconds), sum(billed), sum(borne), sum(borne_billed)
FROM job_money WHERE job_key = $job_key GROUP BY job_key
