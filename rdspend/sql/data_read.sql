-- Where the data that somebody read may be: the path, and the folders it is in. In: file_use. Out: data_read (up: how far above it).
CREATE OR REPLACE TEMP TABLE data_read AS
SELECT node, path, said, confidence, up, {upper} AS place
FROM file_use, (VALUES (0), (1), (2)) AS ups(up) WHERE use = 'data_read'
