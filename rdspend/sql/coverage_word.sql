-- One row of coverage out of bound values.
SELECT CAST(? AS BIGINT) AS run, CAST(? AS VARCHAR) AS source, to_timestamp(?) AS window_start, to_timestamp(?) AS window_end,
    CAST(? AS BOOLEAN) AS complete, CAST(? AS BIGINT) AS rows, TRY_CAST(CAST(? AS HUGEINT) AS BIGINT) AS effective_cost_nanos, to_timestamp(?) AS asked_at,
    CAST(? AS DOUBLE) AS seconds, CAST(? AS VARCHAR) AS why,
    CAST(? AS BIGINT) AS requests, CAST(? AS BIGINT) AS own_cost_nanos
