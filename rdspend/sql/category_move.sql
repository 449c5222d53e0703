-- Money of both revisions by activity or bucket, and how much of the difference is of jobs that were another activity before, or
-- that only one revision knows. In: before_cell, after_cell, job_move.
SELECT category, sum(effective_before), sum(effective_after), sum(billed_before), sum(billed_after), sum(retagged), sum(jobs)
FROM (
    SELECT category, effective AS effective_before, 0 AS effective_after, billed AS billed_before, 0 AS billed_after,
        0 AS retagged, 0 AS jobs
    FROM before_cell
    UNION ALL SELECT category, 0, effective, 0, billed, 0, 0 FROM after_cell
    UNION ALL SELECT category_before, 0, 0, 0, 0, -effective_before, 0 FROM job_move WHERE category_before <> category_after
    UNION ALL SELECT category_after, 0, 0, 0, 0, effective_after, 0 FROM job_move WHERE category_before <> category_after
    UNION ALL SELECT COALESCE(category_after, category_before), 0, 0, 0, 0, 0, effective_after - effective_before
    FROM job_move WHERE category_before IS NULL OR category_after IS NULL
)
GROUP BY category
ORDER BY greatest(abs(sum(effective_after) - sum(effective_before)), abs(sum(billed_after) - sum(billed_before))) DESC, 1
