-- Days on which labelled jobs were submitted, and how many different pieces of work on each. In: suggest_job.
SELECT day, count(DISTINCT (family, "user", account, activity)) FROM suggest_job WHERE told_by <> 'review' GROUP BY day ORDER BY day
