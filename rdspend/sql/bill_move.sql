-- Money of both revisions by source, account and service, in nanos, with checksums of the lines that only one of them has.
-- In: kept_line, gone_line, new_line (charges). Out: bill_move.
CREATE OR REPLACE TEMP TABLE bill_move AS
WITH summed AS (
    SELECT true AS before, true AS after, source, sub_account_id, service_name, sum(effective_cost_nanos) AS effective,
        sum(billed_cost_nanos) AS billed, count(*) AS lines, CAST(0 AS HUGEINT) AS content, CAST(0 AS HUGEINT) AS papers
    FROM kept_line WHERE billing_currency = $currency GROUP BY ALL
    UNION ALL
    SELECT true, false, source, sub_account_id, service_name, sum(effective_cost_nanos), sum(billed_cost_nanos), count(*),
        -sum({content}), -sum({papers})
    FROM gone_line WHERE billing_currency = $currency GROUP BY ALL
    UNION ALL
    SELECT false, true, source, sub_account_id, service_name, sum(effective_cost_nanos), sum(billed_cost_nanos), count(*),
        sum({content}), sum({papers})
    FROM new_line WHERE billing_currency = $currency GROUP BY ALL
)
SELECT source, COALESCE(sub_account_id, '') AS account, COALESCE(service_name, '') AS service,
    COALESCE(sum(effective) FILTER (before), 0) AS effective_before, COALESCE(sum(effective) FILTER (after), 0) AS effective_after,
    COALESCE(sum(billed) FILTER (before), 0) AS billed_before, COALESCE(sum(billed) FILTER (after), 0) AS billed_after,
    COALESCE(sum(lines) FILTER (before), 0) AS lines_before, COALESCE(sum(lines) FILTER (after), 0) AS lines_after,
    sum(content) AS content_moved, sum(papers) AS papers_moved
FROM summed GROUP BY ALL
