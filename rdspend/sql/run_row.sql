-- One row of runs out of bound values.
SELECT CAST(? AS BIGINT) AS run, ? AS stages, ? AS period, to_timestamp(?) AS started_at, to_timestamp(?) AS ended_at, ? AS outcome,
    ? AS pending, ? AS versions, ? AS config_digest, ? AS code_version
