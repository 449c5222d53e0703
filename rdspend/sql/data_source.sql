-- Where the walk back over data begins: at what a release names and the runs behind it. In: ancestor, named_claim. Out: data_source.
CREATE OR REPLACE TEMP TABLE data_source AS
SELECT release, node, confidence, evidence, CAST(NULL AS VARCHAR) AS role, CAST(0 AS BIGINT) AS level FROM ancestor
UNION ALL
SELECT release, 'claim:' || row, CAST(1.0 AS DOUBLE), "at" || ' names dataset ' || value, role, 0 FROM named_claim WHERE kind = 'dataset'
