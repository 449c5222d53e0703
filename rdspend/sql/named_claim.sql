-- What the releases name, one row for each name. In: $claims, JSON made by rdspend.lineage. Out: named_claim (row counts all rows, claim
-- the claims of a release in its order; times are microseconds since 1970).
CREATE OR REPLACE TEMP TABLE named_claim AS
SELECT unnest(from_json($claims, '[{
    "row": "BIGINT", "release": "VARCHAR", "withdrawn": "BOOLEAN", "released": "BIGINT", "claim": "BIGINT", "kind": "VARCHAR",
    "value": "VARCHAR", "role": "VARCHAR", "stage": "VARCHAR", "weight": "BIGINT", "cluster": "VARCHAR", "user": "VARCHAR",
    "account": "VARCHAR", "experiment": "VARCHAR", "since": "BIGINT", "until": "BIGINT", "first": "BIGINT", "last": "BIGINT",
    "keep": ["VARCHAR"], "but": ["VARCHAR"], "at": "VARCHAR"
}]'), max_depth := 2)
