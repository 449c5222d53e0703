-- Money and GPU time of the period by disputed case: what a job was to a release, or its activity where no release claims it; and what these
-- jobs would bear of idle, of bill-idle and of shared money, and of idle time. In: job_part, and borne where some policy spreads.
SELECT {of} AS name, sum(m.effective), sum(m.billed), sum(m.gpu_part_seconds),
    {borne}
FROM job_part AS m {bearing}
GROUP BY ALL ORDER BY ALL
