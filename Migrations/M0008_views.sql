-- Views that answer within their time on a million shards: v_shard and
-- v_garbage again, indexes for what people ask of versions, and what SQLite's
-- planner must know about the sizes of tables.

-- NAME@N, as every view has it: finds the version first, its rows after.
CREATE INDEX index_version_by_label ON index_version (name || '@' || number);
-- The versions that may have used a segment, the one that ended last at the end.
CREATE INDEX index_version_by_use
ON index_version (trained_index_id, bad_rows_policy, coalesce(ended_at, sealed_at));

-- Without figures SQLite takes every table for one of a million rows, and reads
-- all inputs of all versions to find those of one. These are of a large lake;
-- in a small one no plan is slow. Tables that are not named keep the defaults.
ANALYZE lake;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('source', NULL, '20'),
  ('mirror', NULL, '40'),
  ('trained_index', NULL, '20'),
  ('index_version', NULL, '100'),
  ('shard', 'sqlite_autoindex_shard_1', '1000000 1'),
  ('shard', 'sqlite_autoindex_shard_2', '1000000 50000 1'),
  ('shard', 'sqlite_autoindex_shard_3', '1000000 50000 1'),
  ('shard', 'shard_by_state', '1000000 50000 10000'),
  ('shard', 'shard_by_revision', '1000000 1 1'),
  ('transfer', 'transfer_by_shard', '1000000 1'),
  ('transfer', 'transfer_by_mirror', '1000000 50000');
ANALYZE sqlite_schema;

-- The first mirror is a join, for a subquery opens its tables anew for each row;
-- only a shard that the first mirror has no place for needs one.
DROP VIEW v_shard;
CREATE VIEW v_shard AS SELECT
  s.name AS source, -- name of the source
  h.ordinal AS ordinal, -- place in the source, from 0
  h.name AS shard, -- file name
  h.state AS state, -- registered, fetching, present, evicting, evicted, absent or failed
  h.current_revision AS revision, -- number of the newest observed revision
  r.sha256 AS sha256, -- its digest
  r.byte_count AS bytes, -- its size
  r.row_count AS rows, -- its rows
  r.trust AS trust, -- manifest or first-use
  r.observed_at AS observed_at, -- when it was fetched
  h.expected_byte_count AS expected_bytes, -- size the manifest gives
  h.expected_sha256 AS expected_sha256, -- digest the manifest gives
  h.last_error AS last_error, -- why the last fetch failed
  h.path AS path, -- file below the shards directory, while present
  coalesce(l.url, (SELECT x.url FROM mirror y CROSS JOIN shard_location x ON x.shard_id = h.id AND x.mirror_id = y.id
    WHERE y.source_id = h.source_id ORDER BY y.priority LIMIT 1)) AS url -- address on the first mirror
FROM shard h
JOIN source s ON s.id = h.source_id
LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
LEFT JOIN mirror m ON m.source_id = h.source_id AND m.priority = 0
LEFT JOIN shard_location l ON l.shard_id = h.id AND l.mirror_id = m.id;

-- Outputs of no live version; segments that no unfinished output waits for;
-- nearest images while nothing is in training. Each branch finds the digests in
-- an index that holds all it needs (b) and reads the rows (a) of those alone.
-- A segment's last use is the end or seal of the last version that has it, or the
-- output of an unfinished version that it went into.
DROP VIEW v_garbage;
CREATE VIEW v_garbage AS
SELECT
  b.kind AS kind, -- output-shard, segment or nearest-images
  b.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  max(a.created_at, coalesce((SELECT max(max(coalesce(v.ended_at, v.created_at),
      coalesce((SELECT max(p.removed_at) FROM pin p WHERE p.version_id = v.id), '')))
    FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE o.sha256 = b.sha256), '')) AS unused_since -- when its last use ended: the grace period begins
FROM artifact b CROSS JOIN artifact a ON a.sha256 = b.sha256
WHERE b.state = 'present' AND b.kind = 'output-shard' AND NOT EXISTS
  (SELECT 1 FROM output_shard o CROSS JOIN index_version v ON v.id = o.version_id
   WHERE o.sha256 = b.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
     OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(max(
      coalesce((SELECT coalesce(v.ended_at, v.sealed_at) FROM index_version v
        WHERE v.trained_index_id = t.id AND v.bad_rows_policy = g.bad_rows_policy
          AND EXISTS (SELECT 1 FROM shard_revision r CROSS JOIN version_input i ON i.version_id = v.id
            AND i.shard_id = r.shard_id AND i.revision = r.revision WHERE r.sha256 = g.shard_sha256)
        ORDER BY coalesce(v.ended_at, v.sealed_at) DESC LIMIT 1), ''),
      coalesce((SELECT max((SELECT max(coalesce(o.created_at, v.created_at)) FROM shard_revision r
          CROSS JOIN version_input i ON i.version_id = v.id AND i.shard_id = r.shard_id AND i.revision = r.revision
          LEFT JOIN output_shard o ON o.version_id = v.id AND o.ordinal = i.output_ordinal
          WHERE r.sha256 = g.shard_sha256))
        FROM index_version v INDEXED BY index_version_unfinished
        WHERE v.trained_index_id = t.id AND v.state IN ('planned', 'building')
          AND v.bad_rows_policy = g.bad_rows_policy), '')))
    FROM segment g CROSS JOIN trained_index t ON t.sha256 = g.trained_sha256 WHERE g.sha256 = b.sha256), ''))
FROM artifact b CROSS JOIN artifact a ON a.sha256 = b.sha256
WHERE b.state = 'present' AND b.kind = 'segment' AND NOT EXISTS
  (SELECT 1 FROM segment g CROSS JOIN trained_index t ON t.sha256 = g.trained_sha256
    CROSS JOIN index_version v INDEXED BY index_version_unfinished
      ON v.trained_index_id = t.id AND v.state IN ('planned', 'building') AND v.bad_rows_policy = g.bad_rows_policy
    WHERE g.sha256 = b.sha256 AND EXISTS
      (SELECT 1 FROM shard_revision r
        CROSS JOIN version_input i ON i.version_id = v.id AND i.shard_id = r.shard_id AND i.is_hole = 0
        CROSS JOIN shard h ON h.id = r.shard_id AND coalesce(i.revision, h.current_revision) = r.revision
        WHERE r.sha256 = g.shard_sha256 AND NOT EXISTS
          (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(t.ready_at) FROM trained_index t), ''))
FROM artifact b CROSS JOIN artifact a ON a.sha256 = b.sha256
WHERE b.state = 'present' AND b.kind = 'nearest-images'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.state = 'training');
