-- One row of closes out of bound values.
SELECT CAST(? AS BIGINT) AS run, ? AS period, ? AS policy, ? AS currency, CAST(? AS BIGINT) AS revision,
    CAST(? AS BIGINT) AS published_run, ? AS digest, to_timestamp(?) AS closed_at
