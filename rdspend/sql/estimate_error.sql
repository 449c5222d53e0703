-- How far estimates were from the bill. In: compared_hour, hour_price. Out: estimate_error (GPU type x currency x why).
-- Errors are (bill - estimate) / estimate in parts per million, cut toward zero; one too large for 64 bits becomes the largest of them.
CREATE OR REPLACE TEMP TABLE estimate_error AS
SELECT gpu_type, currency, why, node_hours, estimated, billed, median_ppm, p90_ppm
FROM (
    SELECT kind, why, count(*) AS node_hours, CAST(sum(estimate) AS HUGEINT) AS estimated, CAST(sum(bill) AS HUGEINT) AS billed,
        quantile_disc(ppm, 0.5) AS median_ppm, quantile_disc(abs(ppm), 0.9) AS p90_ppm
    FROM (
        SELECT kind, why, estimate, bill,
            CASE
                WHEN why > 0 THEN NULL
                -- The narrow division where it is enough: it is ten times as fast.
                WHEN bill BETWEEN -{narrow} AND {narrow} AND estimate < {narrow} THEN (bill - estimate) * 1000000 // estimate
                ELSE CAST(greatest(least((CAST(bill AS HUGEINT) - estimate) * 1000000 // estimate, {most}), -{most}) AS BIGINT)
            END AS ppm
        FROM compared_hour
    )
    GROUP BY kind, why
) JOIN (SELECT DISTINCT kind, gpu_type, currency FROM hour_price) USING (kind)
