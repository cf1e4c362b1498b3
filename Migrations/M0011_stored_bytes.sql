-- Bytes once, and what they are for beside them: a file of the lake is a row of
-- stored_bytes, and shard revisions, segments, trained indexes, outputs and
-- nearest rows point to it by its digest. The same bytes may serve many.
--
-- What were lists in CHECKs become tables: a codec more is one INSERT. The
-- guards of all this are in the next migration; foreign keys are off while the
-- tables are made anew, and checked when everything is done.

PRAGMA legacy_alter_table = ON;
-- What rows must meet they met when they were written; to ask millions of them
-- again would take as long as all the rest.
PRAGMA ignore_check_constraints = ON;

-- Lists.

-- Directories of a lake that hold bytes the catalog vouches for.
CREATE TABLE place (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO place VALUES ('shards'), ('artifacts');

-- What bytes can be for, and where such bytes are.
CREATE TABLE purpose (
  name TEXT PRIMARY KEY,
  place TEXT NOT NULL REFERENCES place (name)
) STRICT, WITHOUT ROWID;
INSERT INTO purpose VALUES
  ('shard', 'shards'), ('trained-index', 'artifacts'), ('nearest-images', 'artifacts'), ('router-labels', 'artifacts'),
  ('evaluation-truth', 'artifacts'), ('segment', 'artifacts'), ('output-shard', 'artifacts');

-- manifest: equal to a digest given beforehand; first-use: as first seen
CREATE TABLE trust (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO trust VALUES ('manifest'), ('first-use');

CREATE TABLE modality (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO modality VALUES ('image'), ('text'), ('other');

CREATE TABLE dtype (
  name TEXT PRIMARY KEY,
  byte_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO dtype VALUES ('float16', 2), ('float32', 4);

CREATE TABLE training_method (
  name TEXT PRIMARY KEY,
  -- whether it trains on pairs
  has_captions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO training_method VALUES ('paired-kmeans', 1), ('kmeans', 0);

CREATE TABLE codec (
  name TEXT PRIMARY KEY,
  -- of each element of a row
  bit_count INTEGER NOT NULL,
  -- whether it scales elements by ranges that were trained
  has_ranges INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO codec VALUES ('sq4', 4, 1), ('sq8', 8, 1), ('fp16', 16, 0), ('flat', 32, 0);

CREATE TABLE router_method (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO router_method VALUES ('caption-mean'), ('learned');

-- Bytes.

CREATE TABLE stored_bytes (
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  place TEXT NOT NULL REFERENCES place (name),
  -- what they were stored for first; others may point to them since
  kind TEXT NOT NULL REFERENCES purpose (name),
  byte_count INTEGER NOT NULL CHECK (byte_count >= 0),
  -- below the directory of the place
  path TEXT NOT NULL CHECK (path NOT GLOB '/*' AND path NOT GLOB '*..*'),
  -- deleting: nothing needs them, the file is going; the row stays when it is gone
  state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'deleting', 'deleted')),
  created_at TEXT NOT NULL,
  -- when they were read last and found right
  verified_at TEXT,
  -- when their removal was decided
  deleting_at TEXT,
  PRIMARY KEY (sha256, place)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO stored_bytes (sha256, place, kind, byte_count, path, state, created_at, verified_at, deleting_at)
SELECT r.sha256, 'shards', 'shard', r.byte_count, h.path, iif(h.state = 'evicting', 'deleting', 'present'), r.observed_at,
  h.verified_at, iif(h.state = 'evicting', h.changed_at, NULL)
FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
WHERE h.path IS NOT NULL ORDER BY r.sha256, h.state = 'evicting', h.id;
INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, state, created_at, verified_at, deleting_at)
SELECT a.sha256, 'artifacts', iif(a.kind = 'nearest-images'
    AND EXISTS (SELECT 1 FROM evaluation e WHERE e.truth_sha256 = a.sha256), 'evaluation-truth', a.kind),
  a.byte_count, a.path, a.state, a.created_at, a.verified_at, a.deleting_at
FROM artifact a ORDER BY a.sha256;

-- Made in one go: row by row, in the order of digests, takes a third longer.
CREATE UNIQUE INDEX stored_bytes_by_path ON stored_bytes (place, path);
CREATE INDEX stored_bytes_by_state ON stored_bytes (state, kind);

-- Files whose bytes are stored under another path too, from when two shards with
-- the same bytes had a file each: the next command that writes removes them.
CREATE TABLE duplicate_file (
  place TEXT NOT NULL REFERENCES place (name),
  path TEXT NOT NULL,
  PRIMARY KEY (place, path)
) STRICT, WITHOUT ROWID;
INSERT INTO duplicate_file
SELECT 'shards', h.path
FROM (SELECT sha256 FROM shard_revision GROUP BY sha256 HAVING count(*) > 1) d
JOIN shard_revision r ON r.sha256 = d.sha256
JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.path IS NOT NULL
JOIN stored_bytes b ON b.sha256 = d.sha256 AND b.place = 'shards' AND b.path <> h.path;

-- Files that are not deleted, each counted once, by what they were stored for.
CREATE TABLE stored_total (
  kind TEXT PRIMARY KEY REFERENCES purpose (name),
  file_count INTEGER NOT NULL DEFAULT 0,
  byte_count INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO stored_total (kind) SELECT name FROM purpose;
UPDATE stored_total SET file_count = x.files, byte_count = x.bytes
FROM (SELECT kind, count(*) AS files, sum(byte_count) AS bytes FROM stored_bytes WHERE state <> 'deleted' GROUP BY kind)
  AS x
WHERE stored_total.kind = x.kind;

-- The text that was sealed; its SHA-256 is the version's digest.
CREATE TABLE lock_text (
  version_id INTEGER PRIMARY KEY REFERENCES index_version (id),
  text TEXT NOT NULL
) STRICT;

-- The tables that name a list, or pointed to artifact.

CREATE TABLE new_source (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  modality TEXT NOT NULL REFERENCES modality (name),
  dimension INTEGER NOT NULL CHECK (dimension BETWEEN 1 AND 65536),
  dtype TEXT NOT NULL REFERENCES dtype (name),
  created_at TEXT NOT NULL
) STRICT;
INSERT INTO new_source SELECT * FROM source;
DROP TABLE source;
ALTER TABLE new_source RENAME TO source;

CREATE TABLE new_shard (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  name TEXT NOT NULL
    CHECK (length(name) BETWEEN 1 AND 255 AND name NOT GLOB '*/*' AND name NOT GLOB '[.-]*'),
  expected_byte_count INTEGER CHECK (expected_byte_count > 0),
  expected_sha256 TEXT CHECK (length(expected_sha256) = 64 AND expected_sha256 NOT GLOB '*[^0-9a-f]*'),
  -- registered: never held here         fetching: a transfer may be under way
  -- present:    needs its bytes          evicting: needs them no more
  -- evicted:    known, not needed        absent:   every mirror says it has none
  -- failed:     no mirror gave good bytes, last_error says why
  state TEXT NOT NULL DEFAULT 'registered' CHECK
    (state IN ('registered', 'fetching', 'present', 'evicting', 'evicted', 'absent', 'failed')),
  -- the revision that present is about; its stored bytes are in the lake then
  current_revision INTEGER,
  reserved_byte_count INTEGER CHECK (reserved_byte_count >= 0),
  last_error TEXT,
  changed_at TEXT NOT NULL,
  UNIQUE (source_id, ordinal),
  UNIQUE (source_id, name),
  FOREIGN KEY (id, current_revision) REFERENCES shard_revision (shard_id, revision) DEFERRABLE INITIALLY DEFERRED,
  CHECK (state NOT IN ('present', 'evicting', 'evicted') OR current_revision IS NOT NULL),
  -- a present shard keeps its bytes while a newer revision is fetched
  CHECK (state <> 'fetching' OR reserved_byte_count IS NOT NULL),
  CHECK (reserved_byte_count IS NULL OR state IN ('fetching', 'present'))
) STRICT;
INSERT INTO new_shard
SELECT id, source_id, ordinal, name, expected_byte_count, expected_sha256, state, current_revision, reserved_byte_count,
  last_error, changed_at FROM shard;
DROP TABLE shard;
ALTER TABLE new_shard RENAME TO shard;
CREATE INDEX shard_by_state ON shard (source_id, state);
CREATE INDEX shard_by_reservation ON shard (reserved_byte_count);
CREATE INDEX shard_by_revision ON shard (id, current_revision);

CREATE TABLE new_shard_revision (
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  revision INTEGER NOT NULL CHECK (revision >= 1),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  byte_count INTEGER NOT NULL CHECK (byte_count > 0),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  trust TEXT NOT NULL REFERENCES trust (name),
  mirror_id INTEGER REFERENCES mirror (id),
  etag TEXT,
  last_modified TEXT,
  observed_at TEXT NOT NULL,
  PRIMARY KEY (shard_id, revision),
  UNIQUE (shard_id, sha256)
) STRICT, WITHOUT ROWID;
INSERT INTO new_shard_revision SELECT * FROM shard_revision;
DROP TABLE shard_revision;
ALTER TABLE new_shard_revision RENAME TO shard_revision;
CREATE INDEX shard_revision_by_digest ON shard_revision (sha256);
CREATE INDEX shard_revision_by_mirror ON shard_revision (mirror_id);

CREATE TABLE new_trained_index (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  state TEXT NOT NULL CHECK (state IN ('training', 'ready')),
  method TEXT NOT NULL REFERENCES training_method (name),
  codec TEXT NOT NULL REFERENCES codec (name),
  nlist INTEGER NOT NULL CHECK (nlist >= 1),
  dimension INTEGER NOT NULL CHECK (dimension >= 1),
  iterations INTEGER NOT NULL CHECK (iterations >= 1),
  seed INTEGER NOT NULL,
  pair_count INTEGER NOT NULL CHECK (pair_count >= nlist),
  image_source_id INTEGER NOT NULL REFERENCES source (id),
  caption_source_id INTEGER REFERENCES source (id),
  -- everything that determines the bytes, as canonical JSON
  spec TEXT NOT NULL CHECK (spec GLOB '{*}'),
  spec_sha256 TEXT NOT NULL,
  sha256 TEXT,
  created_at TEXT NOT NULL,
  ready_at TEXT,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place),
  CHECK ((state = 'ready') = (sha256 IS NOT NULL)),
  CHECK ((state = 'ready') = (ready_at IS NOT NULL))
) STRICT;
INSERT INTO new_trained_index SELECT * FROM trained_index;
DROP TABLE trained_index;
ALTER TABLE new_trained_index RENAME TO trained_index;
CREATE INDEX trained_index_by_digest ON trained_index (sha256);
CREATE INDEX trained_index_by_spec ON trained_index (spec_sha256);
CREATE INDEX trained_index_by_images ON trained_index (image_source_id);
CREATE INDEX trained_index_by_captions ON trained_index (caption_source_id);

CREATE TABLE new_trained_router (
  trained_index_id INTEGER PRIMARY KEY REFERENCES trained_index (id),
  method TEXT NOT NULL REFERENCES router_method (name),
  caption_source_id INTEGER NOT NULL REFERENCES source (id),
  -- captions it is trained on; as many blends of two come on top
  caption_count INTEGER NOT NULL CHECK (caption_count >= 1),
  epochs INTEGER NOT NULL CHECK (epochs >= 0)
) STRICT;
INSERT INTO new_trained_router SELECT * FROM trained_router;
DROP TABLE trained_router;
ALTER TABLE new_trained_router RENAME TO trained_router;
CREATE INDEX trained_router_by_captions ON trained_router (caption_source_id);

-- The nearest rows of a set of queries: images of a training's captions, images
-- that label a router's captions, neighbours an evaluation measures against. The
-- key is the content of all that was compared, so that whoever compares the same
-- shares them.
CREATE TABLE new_nearest_images (
  inputs_sha256 TEXT PRIMARY KEY CHECK (length(inputs_sha256) = 64),
  purpose TEXT NOT NULL REFERENCES purpose (name),
  sha256 TEXT NOT NULL,
  pair_count INTEGER NOT NULL CHECK (pair_count >= 1),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;
INSERT INTO new_nearest_images
SELECT n.inputs_sha256, b.kind, n.sha256, n.pair_count, n.created_at
FROM nearest_images n JOIN stored_bytes b ON b.sha256 = n.sha256 AND b.place = 'artifacts';
DROP TABLE nearest_images;
ALTER TABLE new_nearest_images RENAME TO nearest_images;
CREATE INDEX nearest_images_by_digest ON nearest_images (sha256);

CREATE TABLE new_segment (
  trained_sha256 TEXT NOT NULL,
  shard_sha256 TEXT NOT NULL CHECK (length(shard_sha256) = 64),
  bad_rows_policy TEXT NOT NULL CHECK (bad_rows_policy IN ('fail', 'skip')),
  format_version INTEGER NOT NULL CHECK (format_version >= 1),
  sha256 TEXT NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  bad_row_count INTEGER NOT NULL DEFAULT 0 CHECK (bad_row_count BETWEEN 0 AND row_count),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  PRIMARY KEY (trained_sha256, shard_sha256, bad_rows_policy, format_version),
  FOREIGN KEY (trained_sha256, place) REFERENCES stored_bytes (sha256, place),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;
INSERT INTO new_segment SELECT * FROM segment;
DROP TABLE segment;
ALTER TABLE new_segment RENAME TO segment;
CREATE INDEX segment_by_digest ON segment (sha256);

CREATE TABLE new_output_shard (
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  sha256 TEXT NOT NULL,
  first_input INTEGER NOT NULL CHECK (first_input >= 0),
  last_input INTEGER NOT NULL,
  first_id INTEGER NOT NULL CHECK (first_id >= 0),
  end_id INTEGER NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  byte_count INTEGER NOT NULL CHECK (byte_count > 0),
  -- SHA-256 over the digests of the inverted lists, in list order
  lists_sha256 TEXT NOT NULL CHECK (length(lists_sha256) = 64),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  PRIMARY KEY (version_id, ordinal),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place),
  CHECK (first_input <= last_input),
  CHECK (first_id + row_count <= end_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_output_shard SELECT * FROM output_shard;
DROP TABLE output_shard;
ALTER TABLE new_output_shard RENAME TO output_shard;
CREATE INDEX output_shard_by_digest ON output_shard (sha256);

CREATE TABLE new_evaluation (
  id INTEGER PRIMARY KEY,
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  evaluated_at TEXT NOT NULL,
  -- the query file's name, for people; its digest is what counts
  queries TEXT NOT NULL CHECK (queries <> ''),
  queries_sha256 TEXT NOT NULL CHECK (length(queries_sha256) = 64 AND queries_sha256 NOT GLOB '*[^0-9a-f]*'),
  query_count INTEGER NOT NULL CHECK (query_count >= 1),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  -- the exact neighbours; they can be made again
  truth_sha256 TEXT NOT NULL,
  threads INTEGER NOT NULL CHECK (threads >= 1),
  imbalance REAL NOT NULL CHECK (imbalance >= 1),
  -- lists by size: entry 0 the empty ones, entry b those of 2^(b-1) to 2^b - 1 rows
  list_sizes TEXT NOT NULL CHECK (list_sizes GLOB '[[]*]'),
  environment TEXT NOT NULL CHECK (environment GLOB '{*}'),
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  FOREIGN KEY (truth_sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT;
INSERT INTO new_evaluation SELECT * FROM evaluation;
DROP TABLE evaluation;
ALTER TABLE new_evaluation RENAME TO evaluation;
CREATE INDEX evaluation_by_version ON evaluation (version_id);
CREATE INDEX evaluation_by_truth ON evaluation (truth_sha256);

DROP TABLE artifact;
DROP TABLE artifact_total;

PRAGMA legacy_alter_table = OFF;
PRAGMA ignore_check_constraints = OFF;

-- The figures for SQLite's planner, for the tables that were made anew.
INSERT INTO sqlite_stat1 (tbl, idx, stat)
SELECT column1, column2, column3 FROM (VALUES
  ('source', NULL, '20'),
  ('trained_index', NULL, '20'),
  ('codec', NULL, '10'),
  ('shard', 'sqlite_autoindex_shard_1', '1000000 50000 1'),
  ('shard', 'sqlite_autoindex_shard_2', '1000000 50000 1'),
  ('shard', 'shard_by_state', '1000000 50000 10000'),
  ('shard', 'shard_by_revision', '1000000 1 1'))
WHERE NOT EXISTS (SELECT 1 FROM sqlite_stat1 s WHERE s.tbl = column1);
ANALYZE sqlite_schema;
