-- One publication out of bound values.
SELECT CAST(? AS BIGINT) AS run, ? AS period, ? AS policy, ? AS currency, CAST(? AS BIGINT) AS revision, ? AS digest, ? AS figures,
    to_timestamp(?) AS published_at
