-- Money of both revisions by one column of the bill, what moved most first. In: bill_move.
SELECT {column} AS name, sum(effective_before) AS effective_before, sum(effective_after) AS effective_after,
    sum(billed_before) AS billed_before, sum(billed_after) AS billed_after,
    CAST(sum(lines_before) AS BIGINT) AS lines_before, CAST(sum(lines_after) AS BIGINT) AS lines_after
FROM bill_move GROUP BY 1
ORDER BY greatest(abs(sum(effective_after) - sum(effective_before)), abs(sum(billed_after) - sum(billed_before))) DESC, 1
