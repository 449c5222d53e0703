-- The money of an hour at present prices, as attributions. In: burning. Out: burning_money, a view.
CREATE OR REPLACE TEMP VIEW burning_money AS
SELECT '' AS source, '' AS billing_period, {currency} AS billing_currency, 'estimated' AS basis, '' AS day, 'node' AS route, cluster, job_key,
    CASE WHEN job_key IS NULL THEN 'idle' END AS bucket, CAST(NULL AS VARCHAR) AS service, cost AS effective_cost_nanos, cost AS billed_cost_nanos
FROM burning WHERE {currency} <> '' AND cost IS NOT NULL
