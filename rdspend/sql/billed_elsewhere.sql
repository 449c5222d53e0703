-- Priced hours that a bill of another month pays for, or has a part in. In: paid_hour, rate_span.
SELECT count(*) AS hours FROM paid_hour AS x JOIN rate_span AS r ON r.n = x.n AND r.first_h <= x.h AND x.h < r.last_h
WHERE x.flags >= 4 AND r.prices > 0
