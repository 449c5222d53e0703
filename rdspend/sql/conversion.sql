-- What was converted, by the currency it had: both amounts in nanos, and the first and last day's rate. In: converted, exchange_day.
SELECT c.original_currency, sum(c.original_effective), sum(c.original_billed), sum(c.effective_cost_nanos), sum(c.billed_cost_nanos),
    any_value(r.first), any_value(r.last)
FROM converted AS c
LEFT JOIN (
    SELECT currency, arg_min(rate, day) AS first, arg_max(rate, day) AS last FROM exchange_day GROUP BY ALL
) AS r ON r.currency = c.original_currency
GROUP BY c.original_currency
ORDER BY c.original_currency
