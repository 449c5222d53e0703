-- Money of another currency on days without a rate. In: original_attributions, exchange_said. Sums in nanos by currency and day.
SELECT o.billing_currency, o.day, count(*), sum(o.effective_cost_nanos), sum(o.billed_cost_nanos)
FROM original_attributions AS o
ANTI JOIN exchange_said AS s ON s.currency = o.billing_currency AND s.day = o.day
WHERE o.billing_currency <> {into}
GROUP BY ALL
ORDER BY ALL
