-- The archive's events, each once. ROOT is replaced by the directory or s3:// URL that holds events/.
CREATE OR REPLACE VIEW events AS
SELECT * FROM read_json('ROOT/events/**/*', format = 'newline_delimited', hive_partitioning = true,
  union_by_name = true, filename = false)
QUALIFY row_number() OVER (PARTITION BY id ORDER BY ingest_ts) = 1;
