-- Indexes that DuckDB can list. One that it cannot parse takes the others with it
-- (duckdb_indexes, pg_class and its sqlite_master fail for the whole catalog): so no
-- index is partial, and an expression in one stands in parentheses.

-- Was of unfinished builds alone; null is never equal to null, so one of each still.
DROP INDEX one_build_per_spec;
CREATE UNIQUE INDEX one_build_per_spec
ON index_version (name, spec_sha256, (CASE WHEN state IN ('planned', 'building') THEN 1 END));
-- Likewise of pins in force, and now of all pins of a version.
DROP INDEX pin_in_force;
DROP INDEX pin_by_version;
CREATE UNIQUE INDEX pin_in_force ON pin (version_id, (CASE WHEN removed_at IS NULL THEN 1 END));
-- Shards with a reservation; those half evicted are found by source and state.
DROP INDEX shard_unsettled;
CREATE INDEX shard_by_reservation ON shard (reserved_byte_count);
DROP INDEX index_version_by_label;
CREATE INDEX index_version_by_label ON index_version ((name || '@' || number));
-- Unfinished versions; of the others it holds nulls, which no trained index is. The
-- cast gives it the affinity of what it is compared with.
DROP INDEX index_version_unfinished;
CREATE INDEX index_version_unfinished
ON index_version ((CAST(CASE WHEN state IN ('planned', 'building') THEN trained_index_id END AS BIGINT)));
-- Nobody asked it.
DROP INDEX shard_by_verification;
