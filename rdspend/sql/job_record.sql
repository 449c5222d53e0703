-- One job's record, for people. In: jobs (run).
SELECT cluster, job_id, origin_file || ':' || origin_row AS record, "user", account, project, queue, qos, name, command, work_dir,
    strftime(timezone('UTC', submit_time), '%Y-%m-%dT%H:%M:%SZ') AS submitted,
    strftime(timezone('UTC', start_time), '%Y-%m-%dT%H:%M:%SZ') AS started,
    COALESCE(strftime(timezone('UTC', end_time), '%Y-%m-%dT%H:%M:%SZ'), 'still runs') AS ended,
    outcome, exit_code, gpu_type, node_count
FROM jobs WHERE job_key = $job_key
