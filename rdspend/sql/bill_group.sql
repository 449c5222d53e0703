-- Money of both revisions by one column of the bill, what moved most first, and whether its lines are others. In: bill_move.
SELECT {column} AS name, sum(effective_before) AS effective_before, sum(effective_after) AS effective_after,
    sum(billed_before) AS billed_before, sum(billed_after) AS billed_after,
    CAST(sum(lines_before) AS BIGINT) AS lines_before, CAST(sum(lines_after) AS BIGINT) AS lines_after,
    sum(content_moved) <> 0 AS content_moved, sum(papers_moved) <> 0 AS papers_moved
FROM bill_move GROUP BY 1
ORDER BY greatest(abs(sum(effective_after) - sum(effective_before)), abs(sum(billed_after) - sum(billed_before))) DESC, 1
