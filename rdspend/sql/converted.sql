-- Attributions in one currency, each row converted with the rate of its day and rounded half to even to nanos.
-- In: original_attributions, exchange_day. Out: converted, a view (row of attributions), with the currency it had.
CREATE OR REPLACE TEMP VIEW converted AS
SELECT o.* REPLACE (
        {into} AS billing_currency, {effective} AS effective_cost_nanos, {billed} AS billed_cost_nanos
    ),
    o.billing_currency AS original_currency,
    o.effective_cost_nanos AS original_effective,
    o.billed_cost_nanos AS original_billed
FROM original_attributions AS o
LEFT JOIN exchange_day AS x ON x.currency = o.billing_currency AND x.day = o.day
