-- Months that have money or GPU time of jobs that are tagged anew. In: attributions, occupancy, unsettled_job.
SELECT billing_period FROM attributions SEMI JOIN unsettled_job USING (job_key)
UNION SELECT month FROM occupancy SEMI JOIN unsettled_job USING (job_key)
ORDER BY 1
