-- Money of both revisions by team; buckets have none. In: before_cell, after_cell.
SELECT team, sum(effective_before), sum(effective_after), sum(billed_before), sum(billed_after)
FROM (
    SELECT team, effective AS effective_before, 0 AS effective_after, billed AS billed_before, 0 AS billed_after FROM before_cell
    UNION ALL SELECT team, 0, effective, 0, billed FROM after_cell
)
GROUP BY team
ORDER BY greatest(abs(sum(effective_after) - sum(effective_before)), abs(sum(billed_after) - sum(billed_before))) DESC, 1
