-- A day's money and GPU time of a job that is cut, over its spans of that day by their length: differences of cut running totals, so
-- that the parts add up to the day. A day outside of all spans is its last span's. In: attributions, occupancy, job_span, job_sum.
-- Out: more rows of job_part.
INSERT INTO job_part
WITH day_sum AS (
    SELECT job_key, day, sum(effective) AS effective, sum(billed) AS billed, sum(parts) AS parts
    FROM (
        SELECT job_key, day, effective_cost_nanos AS effective, billed_cost_nanos AS billed, 0 AS parts
        FROM attributions WHERE billing_currency = $currency
        UNION ALL
        SELECT job_key, day, 0, 0, gpu_part_seconds FROM occupancy WHERE job_key IS NOT NULL {foreign}
    )
    SEMI JOIN cut_job USING (job_key) GROUP BY ALL
),
held AS (
    SELECT d.*, p.part, greatest(0, least(p.e, day_start + {day}) - greatest(p.s, day_start)) AS length
    FROM (SELECT *, epoch_us(CAST(day AS TIMESTAMP)) AS day_start FROM day_sum) AS d JOIN job_span AS p USING (job_key)
),
running AS (
    SELECT *, CAST(sum(length) OVER upto AS HUGEINT) AS upto, CAST(sum(length) OVER whole AS HUGEINT) AS whole,
        part = max(part) OVER whole AS last
    FROM held
    WINDOW upto AS (PARTITION BY job_key, day ORDER BY part), whole AS (PARTITION BY job_key, day)
),
shared AS (
    SELECT job_key, part,
        {effective} AS effective,
        {billed} AS billed,
        {parts} AS parts
    FROM running
)
SELECT job_key, sum(shared.effective), sum(shared.billed), any_value(m.basis), sum(shared.parts), part, any_value(p.activity),
    any_value(COALESCE(p.role, '')), any_value(COALESCE(p.release, '')), any_value(p.stage)
FROM shared JOIN job_span AS p USING (job_key, part) JOIN job_sum AS m USING (job_key)
GROUP BY job_key, part
