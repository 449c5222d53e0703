-- One finding out of bound values.
SELECT CAST(? AS VARCHAR) AS kind, CAST(? AS VARCHAR) AS subject, CAST(? AS VARCHAR) AS detail, CAST(? AS BIGINT) AS rows
