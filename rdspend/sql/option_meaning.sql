-- What options mean. In: $meanings, JSON made by rdspend.file_use. Out: option_meaning.
CREATE OR REPLACE TEMP TABLE option_meaning AS
SELECT unnest(from_json($meanings, '[{"word": "VARCHAR", "use": "VARCHAR"}]'), max_depth := 2)
