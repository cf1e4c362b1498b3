-- Files with several arrays: a source reads one of them, and several sources may read
-- the same files. Such a source has no shards or mirrors of its own: what the files are
-- and where is said once, by the source that has them (DESIGN, 6.1).

-- The array that the source reads; null where its files have one.
ALTER TABLE source ADD COLUMN array_name TEXT CHECK (length(array_name) BETWEEN 1 AND 255);
-- The source whose files it reads; null where it has its own.
ALTER TABLE source ADD COLUMN files_of INTEGER REFERENCES source (id);
CREATE INDEX source_by_files ON source (coalesce(files_of, id));
CREATE INDEX source_by_owner ON source (files_of);

CREATE TRIGGER source_reads_files_of_another BEFORE INSERT ON source
WHEN NEW.files_of IS NOT NULL AND (NEW.array_name IS NULL
  OR NOT EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.files_of AND s.files_of IS NULL AND s.array_name IS NOT NULL))
BEGIN SELECT RAISE(ABORT, 'a source reads an array of its own files or of those of a source that does'); END;
CREATE TRIGGER source_keeps_its_files BEFORE UPDATE ON source
WHEN (NEW.array_name, NEW.files_of) IS NOT (OLD.array_name, OLD.files_of)
BEGIN SELECT RAISE(ABORT, 'a source keeps its array and whose files it reads'); END;
CREATE TRIGGER source_that_others_read_is_kept BEFORE DELETE ON source
WHEN EXISTS (SELECT 1 FROM source s WHERE s.files_of = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a source whose files another one reads is kept'); END;
CREATE TRIGGER shard_is_of_a_source_with_files BEFORE INSERT ON shard
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.source_id AND s.files_of IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a source that reads the files of another one has no shards'); END;
CREATE TRIGGER mirror_is_of_a_source_with_files BEFORE INSERT ON mirror
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.source_id AND s.files_of IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a source that reads the files of another one has no mirrors'); END;

-- As before; and what bytes were held against is that of every source that reads them.
DROP TRIGGER source_is_frozen;
CREATE TRIGGER source_is_frozen BEFORE UPDATE ON source
WHEN NEW.id IS NOT OLD.id
  OR NOT EXISTS (SELECT 1 FROM modality m WHERE m.name = NEW.modality)
  OR NOT EXISTS (SELECT 1 FROM dtype d WHERE d.name = NEW.dtype)
  OR (NEW.name IS NOT OLD.name AND EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name))
  OR (NEW.name IS NOT OLD.name AND (NEW.name NOT GLOB '*..*' AND instr(NEW.name, char(0)) = 0) IS NOT 1)
  OR ((NEW.dimension, NEW.dtype) IS NOT (OLD.dimension, OLD.dtype)
    AND EXISTS (SELECT 1 FROM shard h WHERE h.source_id = coalesce(OLD.files_of, OLD.id)
      AND h.current_revision IS NOT NULL))
  OR ((NEW.name, NEW.modality, NEW.dimension, NEW.dtype) IS NOT (OLD.name, OLD.modality, OLD.dimension, OLD.dtype)
    AND EXISTS (SELECT 1 FROM index_version v JOIN trained_index t ON t.id = v.trained_index_id
      WHERE v.state IS NOT 'abandoned' AND OLD.id IN (v.source_id, t.image_source_id, coalesce(t.caption_source_id, v.source_id))))
BEGIN SELECT RAISE(ABORT, 'a source never changes what its bytes or a version are held against'); END;

-- A segment is of the rows of a file, or of one of its arrays.

PRAGMA legacy_alter_table = ON;
PRAGMA ignore_check_constraints = ON;
CREATE TABLE new_segment (
  trained_sha256 TEXT NOT NULL,
  shard_sha256 TEXT NOT NULL CHECK (length(shard_sha256) = 64),
  -- empty where the source names none
  array_name TEXT NOT NULL DEFAULT '',
  bad_rows_policy TEXT NOT NULL CHECK (bad_rows_policy IN ('fail', 'skip')),
  format_version INTEGER NOT NULL CHECK (format_version >= 1),
  sha256 TEXT NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  bad_row_count INTEGER NOT NULL DEFAULT 0 CHECK (bad_row_count BETWEEN 0 AND row_count),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  PRIMARY KEY (trained_sha256, shard_sha256, array_name, bad_rows_policy, format_version),
  FOREIGN KEY (trained_sha256, place) REFERENCES stored_bytes (sha256, place),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;
INSERT INTO new_segment
SELECT trained_sha256, shard_sha256, '', bad_rows_policy, format_version, sha256, row_count, bad_row_count, created_at
FROM segment ORDER BY trained_sha256, shard_sha256, bad_rows_policy, format_version;
DROP TABLE segment;
ALTER TABLE new_segment RENAME TO segment;
CREATE INDEX segment_by_digest ON segment (sha256);
PRAGMA legacy_alter_table = OFF;
PRAGMA ignore_check_constraints = OFF;

CREATE TRIGGER segment_is_not_replaced BEFORE INSERT ON segment
WHEN EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.array_name = NEW.array_name AND g.bad_rows_policy = NEW.bad_rows_policy
  AND g.format_version = NEW.format_version)
BEGIN SELECT RAISE(ABORT, 'a segment never changes'); END;
CREATE TRIGGER segment_has_bytes BEFORE INSERT ON segment
WHEN NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts'
    AND b.state = 'present')
  OR NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = NEW.trained_sha256)
BEGIN SELECT RAISE(ABORT, 'the bytes of a segment are in the lake when it is recorded'); END;
CREATE TRIGGER segment_is_frozen BEFORE UPDATE ON segment
BEGIN SELECT RAISE(ABORT, 'a segment never changes'); END;
CREATE TRIGGER segment_is_kept BEFORE DELETE ON segment
BEGIN SELECT RAISE(ABORT, 'a segment''s row is kept when its bytes go'); END;

-- The totals of versions, as before, by the array that the version's source reads.
DROP TRIGGER version_total_gains_input;
CREATE TRIGGER version_total_gains_input AFTER INSERT ON version_input
BEGIN
  UPDATE version_total SET input_count = input_count + 1, hole_count = hole_count + NEW.is_hole,
    row_count = row_count + NEW.row_count,
    planned_output_count = max(planned_output_count, NEW.output_ordinal + 1),
    encoded_count = encoded_count + (x.rows IS NOT NULL), encoded_row_count = encoded_row_count + coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = NEW.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN source s ON s.id = v.source_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.array_name = coalesce(s.array_name, '') AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = NEW.version_id;
END;
DROP TRIGGER version_total_binds_input;
CREATE TRIGGER version_total_binds_input AFTER UPDATE OF revision, is_hole ON version_input
BEGIN
  UPDATE version_total SET hole_count = hole_count + NEW.is_hole - OLD.is_hole,
    encoded_count = encoded_count + (x.rows IS NOT NULL), encoded_row_count = encoded_row_count + coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = NEW.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN source s ON s.id = v.source_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.array_name = coalesce(s.array_name, '') AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = NEW.version_id;
END;
DROP TRIGGER version_total_loses_input;
CREATE TRIGGER version_total_loses_input AFTER DELETE ON version_input
BEGIN
  UPDATE version_total SET input_count = input_count - 1, hole_count = hole_count - OLD.is_hole,
    row_count = row_count - OLD.row_count,
    planned_output_count = CASE WHEN planned_output_count > OLD.output_ordinal + 1 THEN planned_output_count
      ELSE coalesce((SELECT max(i.output_ordinal) + 1 FROM version_input i WHERE i.version_id = OLD.version_id), 0) END,
    encoded_count = encoded_count - (x.rows IS NOT NULL), encoded_row_count = encoded_row_count - coalesce(x.rows, 0)
  FROM (SELECT (SELECT g.row_count FROM shard_revision r
      JOIN index_version v ON v.id = OLD.version_id JOIN trained_index t ON t.id = v.trained_index_id
      JOIN source s ON s.id = v.source_id
      JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
        AND g.array_name = coalesce(s.array_name, '') AND g.bad_rows_policy = v.bad_rows_policy
    WHERE r.shard_id = OLD.shard_id AND r.revision = OLD.revision
    ORDER BY g.format_version DESC LIMIT 1) AS rows) AS x
  WHERE version_id = OLD.version_id;
END;
-- A segment counts for every input with its content; of two formats the newer.
CREATE TRIGGER version_total_encodes AFTER INSERT ON segment
WHEN NOT EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.array_name = NEW.array_name AND g.bad_rows_policy = NEW.bad_rows_policy
  AND g.format_version > NEW.format_version)
BEGIN
  UPDATE version_total SET encoded_count = encoded_count + x.inputs * (y.rows IS NULL),
    encoded_row_count = encoded_row_count + x.inputs * (NEW.row_count - coalesce(y.rows, 0))
  FROM (SELECT i.version_id AS id, count(*) AS inputs FROM shard_revision r
      JOIN version_input i ON i.shard_id = r.shard_id AND i.revision = r.revision
      JOIN index_version v ON v.id = i.version_id AND v.bad_rows_policy = NEW.bad_rows_policy
      JOIN source s ON s.id = v.source_id AND coalesce(s.array_name, '') = NEW.array_name
      JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = NEW.trained_sha256
    WHERE r.sha256 = NEW.shard_sha256 GROUP BY i.version_id) AS x,
    (SELECT (SELECT g.row_count FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
        AND g.shard_sha256 = NEW.shard_sha256 AND g.array_name = NEW.array_name
        AND g.bad_rows_policy = NEW.bad_rows_policy AND g.format_version < NEW.format_version
      ORDER BY g.format_version DESC LIMIT 1) AS rows) AS y
  WHERE version_id = x.id;
END;
