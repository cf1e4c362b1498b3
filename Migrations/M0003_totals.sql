-- Totals that triggers keep, so that what people ask most (v_source, v_version,
-- v_build_progress, v_storage) costs the same on a million shards as on ten.
--
-- Every total is a sum over rows that other triggers guard, and changes in the
-- statement that changes those rows, whichever connection runs it. The rows of
-- the totals are made beforehand: keeping them is UPDATEs alone, so that no
-- conflict clause of an outer statement can reach them. `tarn doctor` compares
-- them with the truth.

-- A shard is inserted before it is observed (its revision refers to it), so the
-- revision that a total looks up is always there.
CREATE TRIGGER shard_begins_unobserved BEFORE INSERT ON shard WHEN NEW.current_revision IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a shard is registered before its bytes are observed'); END;

CREATE TABLE shard_total (
  source_id INTEGER NOT NULL REFERENCES source (id),
  state TEXT NOT NULL,
  shard_count INTEGER NOT NULL DEFAULT 0,
  -- of their current revisions
  row_count INTEGER NOT NULL DEFAULT 0,
  byte_count INTEGER NOT NULL DEFAULT 0,
  -- of their current revisions, else as expected
  known_byte_count INTEGER NOT NULL DEFAULT 0,
  reserved_byte_count INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (source_id, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE version_total (
  version_id INTEGER PRIMARY KEY REFERENCES index_version (id),
  input_count INTEGER NOT NULL DEFAULT 0,
  hole_count INTEGER NOT NULL DEFAULT 0,
  -- of the inputs, holes included
  row_count INTEGER NOT NULL DEFAULT 0,
  planned_output_count INTEGER NOT NULL DEFAULT 0,
  -- inputs with a segment, and the rows of these
  encoded_count INTEGER NOT NULL DEFAULT 0,
  encoded_row_count INTEGER NOT NULL DEFAULT 0,
  output_count INTEGER NOT NULL DEFAULT 0,
  output_row_count INTEGER NOT NULL DEFAULT 0,
  output_byte_count INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Artifacts that are not deleted.
CREATE TABLE artifact_total (
  kind TEXT PRIMARY KEY,
  file_count INTEGER NOT NULL DEFAULT 0,
  byte_count INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What is there already.
INSERT INTO shard_total (source_id, state)
SELECT s.id, x.column1 FROM source s CROSS JOIN
  (VALUES ('registered'), ('fetching'), ('present'), ('evicting'), ('evicted'), ('absent'), ('failed')) x;
UPDATE shard_total SET shard_count = x.shards, row_count = x.rows, byte_count = x.bytes,
  known_byte_count = x.known, reserved_byte_count = x.reserved
FROM (
  SELECT h.source_id, h.state, count(*) AS shards, coalesce(sum(r.row_count), 0) AS rows,
    coalesce(sum(r.byte_count), 0) AS bytes, coalesce(sum(coalesce(r.byte_count, h.expected_byte_count)), 0) AS known,
    coalesce(sum(h.reserved_byte_count), 0) AS reserved
  FROM shard h NOT INDEXED
  LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
  GROUP BY h.source_id, h.state
) AS x WHERE shard_total.source_id = x.source_id AND shard_total.state = x.state;

INSERT INTO version_total (version_id) SELECT id FROM index_version;
UPDATE version_total SET input_count = x.inputs, hole_count = x.holes, row_count = x.rows,
  planned_output_count = x.outputs, encoded_count = x.encoded, encoded_row_count = x.encoded_rows
FROM (
  SELECT i.version_id, count(*) AS inputs, sum(i.is_hole) AS holes, sum(i.row_count) AS rows,
    max(i.output_ordinal) + 1 AS outputs, count(i.encoded_rows) AS encoded,
    coalesce(sum(i.encoded_rows), 0) AS encoded_rows
  FROM (
    SELECT i.version_id, i.is_hole, i.row_count, i.output_ordinal,
      (SELECT g.row_count FROM shard_revision r JOIN segment g ON g.trained_sha256 = t.sha256
         AND g.shard_sha256 = r.sha256 AND g.bad_rows_policy = v.bad_rows_policy
       WHERE r.shard_id = i.shard_id AND r.revision = i.revision
       ORDER BY g.format_version DESC LIMIT 1) AS encoded_rows
    FROM version_input i JOIN index_version v ON v.id = i.version_id JOIN trained_index t ON t.id = v.trained_index_id
  ) AS i GROUP BY i.version_id
) AS x WHERE version_total.version_id = x.version_id;
UPDATE version_total SET output_count = x.outputs, output_row_count = x.rows, output_byte_count = x.bytes
FROM (SELECT version_id, count(*) AS outputs, sum(row_count) AS rows, sum(byte_count) AS bytes
  FROM output_shard GROUP BY version_id) AS x WHERE version_total.version_id = x.version_id;

INSERT INTO artifact_total (kind) VALUES ('trained-index'), ('nearest-images'), ('segment'), ('output-shard');
UPDATE artifact_total SET file_count = x.files, byte_count = x.bytes
FROM (SELECT kind, count(*) AS files, sum(byte_count) AS bytes FROM artifact WHERE state <> 'deleted' GROUP BY kind) AS x
WHERE artifact_total.kind = x.kind;

-- Sources and shards.
CREATE TRIGGER shard_total_begins AFTER INSERT ON source
BEGIN
  INSERT INTO shard_total (source_id, state) SELECT NEW.id, x.column1 FROM
    (VALUES ('registered'), ('fetching'), ('present'), ('evicting'), ('evicted'), ('absent'), ('failed')) x;
END;
CREATE TRIGGER shard_total_ends AFTER DELETE ON source
BEGIN DELETE FROM shard_total WHERE source_id = OLD.id; END;
CREATE TRIGGER shard_total_gains AFTER INSERT ON shard
BEGIN
  UPDATE shard_total SET shard_count = shard_count + 1,
    known_byte_count = known_byte_count + coalesce(NEW.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count + coalesce(NEW.reserved_byte_count, 0)
  WHERE source_id = NEW.source_id AND state = NEW.state;
END;
CREATE TRIGGER shard_total_loses AFTER DELETE ON shard
BEGIN
  UPDATE shard_total SET shard_count = shard_count - 1, row_count = row_count - coalesce(x.rows, 0),
    byte_count = byte_count - coalesce(x.bytes, 0),
    known_byte_count = known_byte_count - coalesce(x.bytes, OLD.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count - coalesce(OLD.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision) AS x
  WHERE source_id = OLD.source_id AND state = OLD.state;
END;
CREATE TRIGGER shard_total_moves AFTER UPDATE OF state, current_revision, expected_byte_count, reserved_byte_count
ON shard
WHEN (NEW.state, NEW.current_revision, NEW.expected_byte_count, NEW.reserved_byte_count)
  IS NOT (OLD.state, OLD.current_revision, OLD.expected_byte_count, OLD.reserved_byte_count)
BEGIN
  UPDATE shard_total SET shard_count = shard_count - 1, row_count = row_count - coalesce(x.rows, 0),
    byte_count = byte_count - coalesce(x.bytes, 0),
    known_byte_count = known_byte_count - coalesce(x.bytes, OLD.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count - coalesce(OLD.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision) AS x
  WHERE source_id = OLD.source_id AND state = OLD.state;
  UPDATE shard_total SET shard_count = shard_count + 1, row_count = row_count + coalesce(x.rows, 0),
    byte_count = byte_count + coalesce(x.bytes, 0),
    known_byte_count = known_byte_count + coalesce(x.bytes, NEW.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count + coalesce(NEW.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision) AS x
  WHERE source_id = NEW.source_id AND state = NEW.state;
END;

-- Versions: planned, bound, encoded, merged.
CREATE TRIGGER version_total_begins AFTER INSERT ON index_version
BEGIN INSERT INTO version_total (version_id) VALUES (NEW.id); END;
CREATE TRIGGER version_total_gains_input AFTER INSERT ON version_input
BEGIN
  UPDATE version_total SET input_count = input_count + 1, hole_count = hole_count + NEW.is_hole,
    row_count = row_count + NEW.row_count,
    planned_output_count = max(planned_output_count, NEW.output_ordinal + 1),
    encoded_count = encoded_count + (x.rows IS NOT NULL), encoded_row_count = encoded_row_count + coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = NEW.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = NEW.version_id;
END;
-- An input changes once, from unbound: to a revision, or to a hole.
CREATE TRIGGER version_total_binds_input AFTER UPDATE OF revision, is_hole ON version_input
BEGIN
  UPDATE version_total SET hole_count = hole_count + NEW.is_hole - OLD.is_hole,
    encoded_count = encoded_count + (x.rows IS NOT NULL), encoded_row_count = encoded_row_count + coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = NEW.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = NEW.version_id;
END;
CREATE TRIGGER version_total_loses_input AFTER DELETE ON version_input
BEGIN
  UPDATE version_total SET input_count = input_count - 1, hole_count = hole_count - OLD.is_hole,
    row_count = row_count - OLD.row_count,
    planned_output_count = CASE WHEN planned_output_count > OLD.output_ordinal + 1 THEN planned_output_count
      ELSE coalesce((SELECT max(i.output_ordinal) + 1 FROM version_input i WHERE i.version_id = OLD.version_id), 0) END,
    encoded_count = encoded_count - (x.rows IS NOT NULL), encoded_row_count = encoded_row_count - coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = OLD.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = OLD.shard_id AND r.revision = OLD.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = OLD.version_id;
END;
-- A segment counts for every input with its content; of two formats the newer.
CREATE TRIGGER version_total_encodes AFTER INSERT ON segment
WHEN NOT EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
  AND g.format_version > NEW.format_version)
BEGIN
  UPDATE version_total SET encoded_count = encoded_count + x.inputs * (y.rows IS NULL),
    encoded_row_count = encoded_row_count + x.inputs * (NEW.row_count - coalesce(y.rows, 0))
  FROM (SELECT i.version_id AS id, count(*) AS inputs FROM shard_revision r
      JOIN version_input i ON i.shard_id = r.shard_id AND i.revision = r.revision
      JOIN index_version v ON v.id = i.version_id AND v.bad_rows_policy = NEW.bad_rows_policy
      JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = NEW.trained_sha256
    WHERE r.sha256 = NEW.shard_sha256 GROUP BY i.version_id) AS x,
    (SELECT (SELECT g.row_count FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
        AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
        AND g.format_version < NEW.format_version
      ORDER BY g.format_version DESC LIMIT 1) AS rows) AS y
  WHERE version_id = x.id;
END;
CREATE TRIGGER version_total_gains_output AFTER INSERT ON output_shard
BEGIN
  UPDATE version_total SET output_count = output_count + 1, output_row_count = output_row_count + NEW.row_count,
    output_byte_count = output_byte_count + NEW.byte_count
  WHERE version_id = NEW.version_id;
END;
CREATE TRIGGER version_total_loses_output AFTER DELETE ON output_shard
BEGIN
  UPDATE version_total SET output_count = output_count - 1, output_row_count = output_row_count - OLD.row_count,
    output_byte_count = output_byte_count - OLD.byte_count
  WHERE version_id = OLD.version_id;
END;

-- Artifacts: their rows are never deleted.
CREATE TRIGGER artifact_total_gains AFTER INSERT ON artifact
BEGIN
  UPDATE artifact_total SET file_count = file_count + 1, byte_count = byte_count + NEW.byte_count
  WHERE kind = NEW.kind;
END;
CREATE TRIGGER artifact_total_moves AFTER UPDATE OF state ON artifact
WHEN (NEW.state = 'deleted') <> (OLD.state = 'deleted')
BEGIN
  UPDATE artifact_total SET file_count = file_count + (OLD.state = 'deleted') - (NEW.state = 'deleted'),
    byte_count = byte_count + NEW.byte_count * ((OLD.state = 'deleted') - (NEW.state = 'deleted'))
  WHERE kind = NEW.kind;
END;

DROP VIEW v_source;
CREATE VIEW v_source AS SELECT
  s.name AS source, -- name of the source
  s.modality AS modality, -- image, text or other
  s.dimension AS dimension, -- elements per row
  s.dtype AS dtype, -- float16 or float32
  sum(x.shard_count) AS shards, -- shards registered
  sum(iif(x.state IN ('present', 'evicting'), x.shard_count, 0)) AS present, -- shards whose bytes are in the lake
  sum(iif(x.state = 'fetching', x.shard_count, 0)) AS fetching, -- shards a transfer is under way for
  sum(iif(x.state = 'evicted', x.shard_count, 0)) AS evicted, -- shards fetched once, bytes dropped since
  sum(iif(x.state IN ('absent', 'failed'), x.shard_count, 0)) AS failed, -- shards that no mirror could give
  sum(x.row_count) AS rows, -- rows of the shards fetched so far
  sum(iif(x.state IN ('present', 'evicting'), x.byte_count, 0)) AS present_bytes, -- bytes in the lake
  sum(x.known_byte_count) AS known_bytes, -- bytes of all shards whose size is known
  s.created_at AS created_at -- when it was registered
FROM source s
JOIN shard_total x ON x.source_id = s.id
GROUP BY s.id;

DROP VIEW v_version;
CREATE VIEW v_version AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.name AS name, -- NAME
  v.number AS number, -- N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  t.name AS trained_index, -- trained index it uses
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  s.name AS source, -- image source
  x.input_count AS inputs, -- shards in its plan
  x.hole_count AS holes, -- shards left out as missing
  x.output_count AS outputs, -- output shards finished
  x.output_row_count AS rows, -- rows in them
  x.output_byte_count AS bytes, -- size of them
  v.version_sha256 AS sha256, -- digest of the lock file, once sealed
  v.created_at AS created_at, -- when it was planned
  v.sealed_at AS sealed_at, -- when it was sealed
  v.ended_at AS ended_at, -- when it was revoked or abandoned
  EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL) AS is_pinned -- 1 while a pin keeps its outputs
FROM index_version v
JOIN trained_index t ON t.id = v.trained_index_id
JOIN source s ON s.id = v.source_id
JOIN version_total x ON x.version_id = v.id;

DROP VIEW v_build_progress;
CREATE VIEW v_build_progress AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  x.input_count AS inputs, -- shards in the plan
  x.hole_count AS holes, -- of these left out as missing
  x.encoded_count AS encoded, -- of these encoded into a segment
  x.input_count - x.hole_count - x.encoded_count AS inputs_left, -- of these not encoded yet
  x.planned_output_count AS outputs, -- output shards in the plan
  x.output_count AS outputs_done, -- of these finished
  x.row_count AS rows, -- rows in the plan, holes included
  x.encoded_row_count AS rows_encoded -- rows encoded
FROM index_version v
JOIN version_total x ON x.version_id = v.id;

DROP VIEW v_storage;
CREATE VIEW v_storage AS
SELECT
  'shard' AS kind, -- shard, or the kind of artifact
  coalesce(sum(shard_count), 0) AS files, -- files in the lake
  coalesce(sum(byte_count), 0) AS bytes -- their size
FROM shard_total WHERE state IN ('present', 'evicting')
UNION ALL
SELECT kind, file_count, byte_count FROM artifact_total WHERE file_count > 0;

-- Segments again, from the few versions that are unfinished instead of from all.
CREATE INDEX index_version_unfinished ON index_version (trained_index_id) WHERE state IN ('planned', 'building');

DROP VIEW v_garbage;
-- Outputs of no live version; segments that no unfinished output waits for;
-- nearest images while nothing is in training.
CREATE VIEW v_garbage AS
SELECT
  a.kind AS kind, -- output-shard, segment or nearest-images
  a.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  max(a.created_at, coalesce((SELECT max(max(coalesce(v.ended_at, v.created_at),
      coalesce((SELECT max(p.removed_at) FROM pin p WHERE p.version_id = v.id), '')))
    FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE o.sha256 = a.sha256), '')) AS unused_since -- when its last use ended: the grace period begins
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'output-shard' AND NOT EXISTS
  (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
   WHERE o.sha256 = a.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
     OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT a.kind, a.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(CASE WHEN coalesce(v.ended_at, v.sealed_at) IS NOT NULL
      THEN coalesce(v.ended_at, v.sealed_at)
      ELSE coalesce((SELECT o.created_at FROM version_input j
        JOIN output_shard o ON o.version_id = j.version_id AND o.ordinal = j.output_ordinal
        WHERE j.version_id = i.version_id AND j.ordinal = i.ordinal), v.created_at) END)
    FROM segment g CROSS JOIN shard_revision r ON r.sha256 = g.shard_sha256
    CROSS JOIN version_input i ON i.shard_id = r.shard_id AND i.revision = r.revision
    CROSS JOIN index_version v ON v.id = i.version_id AND v.bad_rows_policy = g.bad_rows_policy
    CROSS JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = g.trained_sha256
    WHERE g.sha256 = a.sha256), ''))
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'segment' AND NOT EXISTS
  (SELECT 1 FROM segment g CROSS JOIN trained_index t ON t.sha256 = g.trained_sha256
    CROSS JOIN index_version v ON v.trained_index_id = t.id AND v.state IN ('planned', 'building')
      AND v.bad_rows_policy = g.bad_rows_policy
    CROSS JOIN shard_revision r ON r.sha256 = g.shard_sha256
    CROSS JOIN version_input i ON i.version_id = v.id AND i.shard_id = r.shard_id AND i.is_hole = 0
    JOIN shard h ON h.id = r.shard_id AND coalesce(i.revision, h.current_revision) = r.revision
    WHERE g.sha256 = a.sha256 AND NOT EXISTS
      (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal))
UNION ALL
SELECT a.kind, a.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(t.ready_at) FROM trained_index t), ''))
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'nearest-images'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.state = 'training');
