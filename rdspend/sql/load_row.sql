-- One row of loads out of bound values.
SELECT CAST(? AS VARCHAR) AS key, CAST(? AS BIGINT) AS rows, CAST(? AS BIGINT) AS effective_cost_nanos, CAST(? AS VARCHAR) AS notes,
    CAST(? AS BIGINT) AS run
