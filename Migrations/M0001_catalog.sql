-- The catalog of a lake: what its sources are, which bytes their shards had,
-- what was trained and built from them, and which files hold the results.
--
-- Digests are SHA-256 in lower-case hexadecimal. Times are UTC,
-- YYYY-MM-DDTHH:MM:SS.SSSZ. Sizes are bytes. Ordinals count from 0.

CREATE TABLE lake (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uuid TEXT NOT NULL CHECK (length(uuid) = 36),
  shards_directory TEXT NOT NULL CHECK (shards_directory <> ''),
  artifacts_directory TEXT NOT NULL CHECK (artifacts_directory <> ''),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE source (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  modality TEXT NOT NULL CHECK (modality IN ('image', 'text', 'other')),
  dimension INTEGER NOT NULL CHECK (dimension BETWEEN 1 AND 65536),
  dtype TEXT NOT NULL CHECK (dtype IN ('float16', 'float32')),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE mirror (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  priority INTEGER NOT NULL CHECK (priority >= 0),
  template TEXT NOT NULL CHECK (template <> ''),
  provenance TEXT NOT NULL DEFAULT 'original' CHECK (provenance IN ('original', 'reconstructed')),
  created_at TEXT NOT NULL,
  UNIQUE (source_id, priority),
  UNIQUE (source_id, template)
) STRICT;

CREATE TABLE shard (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  name TEXT NOT NULL
    CHECK (length(name) BETWEEN 1 AND 255 AND name NOT GLOB '*/*' AND name NOT GLOB '[.-]*'),
  expected_byte_count INTEGER CHECK (expected_byte_count > 0),
  expected_sha256 TEXT CHECK (length(expected_sha256) = 64 AND expected_sha256 NOT GLOB '*[^0-9a-f]*'),
  -- registered: never held here         fetching: a transfer may be under way
  -- present:    bytes are at path        evicting: bytes at path are going
  -- evicted:    known, bytes gone        absent:   every mirror says it has none
  -- failed:     no mirror gave good bytes, last_error says why
  state TEXT NOT NULL DEFAULT 'registered' CHECK
    (state IN ('registered', 'fetching', 'present', 'evicting', 'evicted', 'absent', 'failed')),
  current_revision INTEGER,
  path TEXT UNIQUE CHECK (path NOT GLOB '/*' AND path NOT GLOB '*..*'),
  reserved_byte_count INTEGER CHECK (reserved_byte_count >= 0),
  last_error TEXT,
  changed_at TEXT NOT NULL,
  UNIQUE (source_id, ordinal),
  UNIQUE (source_id, name),
  FOREIGN KEY (id, current_revision) REFERENCES shard_revision (shard_id, revision) DEFERRABLE INITIALLY DEFERRED,
  CHECK ((path IS NOT NULL) = (state IN ('present', 'evicting'))),
  CHECK (state NOT IN ('present', 'evicting', 'evicted') OR current_revision IS NOT NULL),
  -- a present shard keeps its bytes while a newer revision is fetched
  CHECK (state <> 'fetching' OR reserved_byte_count IS NOT NULL),
  CHECK (reserved_byte_count IS NULL OR state IN ('fetching', 'present'))
) STRICT;
CREATE INDEX shard_by_state ON shard (source_id, state);
CREATE INDEX shard_unsettled ON shard (id) WHERE state = 'evicting' OR reserved_byte_count IS NOT NULL;
CREATE INDEX shard_by_revision ON shard (id, current_revision);

-- One fact sheet per shard and mirror: where it would be, and what was seen.
CREATE TABLE shard_location (
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  mirror_id INTEGER NOT NULL REFERENCES mirror (id),
  url TEXT NOT NULL CHECK (url <> ''),
  state TEXT NOT NULL DEFAULT 'unknown' CHECK (state IN ('unknown', 'present', 'absent', 'faulty')),
  byte_count INTEGER CHECK (byte_count >= 0),
  etag TEXT,
  last_modified TEXT,
  last_error TEXT,
  checked_at TEXT,
  PRIMARY KEY (shard_id, mirror_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX shard_location_by_mirror ON shard_location (mirror_id);

CREATE TABLE shard_revision (
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  revision INTEGER NOT NULL CHECK (revision >= 1),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  byte_count INTEGER NOT NULL CHECK (byte_count > 0),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  -- manifest: equal to a digest given beforehand; first-use: as first seen
  trust TEXT NOT NULL CHECK (trust IN ('manifest', 'first-use')),
  mirror_id INTEGER REFERENCES mirror (id),
  etag TEXT,
  last_modified TEXT,
  observed_at TEXT NOT NULL,
  PRIMARY KEY (shard_id, revision),
  UNIQUE (shard_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX shard_revision_by_digest ON shard_revision (sha256);
CREATE INDEX shard_revision_by_mirror ON shard_revision (mirror_id);

CREATE TABLE transfer (
  id INTEGER PRIMARY KEY,
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  mirror_id INTEGER REFERENCES mirror (id),
  url TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT NOT NULL,
  resumed_from INTEGER NOT NULL DEFAULT 0 CHECK (resumed_from >= 0),
  received_byte_count INTEGER NOT NULL CHECK (received_byte_count >= 0),
  http_status INTEGER,
  outcome TEXT NOT NULL CHECK (outcome IN ('complete', 'unchanged', 'absent', 'failed', 'interrupted')),
  error TEXT
) STRICT;
CREATE INDEX transfer_by_shard ON transfer (shard_id);
CREATE INDEX transfer_by_mirror ON transfer (mirror_id);

-- An immutable file under artifacts/, named by its digest.
CREATE TABLE artifact (
  sha256 TEXT PRIMARY KEY CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  kind TEXT NOT NULL CHECK (kind IN ('trained-index', 'nearest-images', 'segment', 'output-shard')),
  byte_count INTEGER NOT NULL CHECK (byte_count >= 0),
  path TEXT NOT NULL UNIQUE CHECK (path NOT GLOB '/*' AND path NOT GLOB '*..*'),
  -- the row stays when the bytes are gone
  state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'deleting', 'deleted')),
  created_at TEXT NOT NULL,
  verified_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE trained_index (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  state TEXT NOT NULL CHECK (state IN ('training', 'ready')),
  method TEXT NOT NULL CHECK (method IN ('paired-kmeans', 'kmeans')),
  codec TEXT NOT NULL CHECK (codec IN ('sq4', 'sq8', 'fp16', 'flat')),
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
  sha256 TEXT REFERENCES artifact (sha256),
  created_at TEXT NOT NULL,
  ready_at TEXT,
  CHECK ((state = 'ready') = (sha256 IS NOT NULL)),
  CHECK ((state = 'ready') = (ready_at IS NOT NULL)),
  CHECK ((method = 'kmeans') = (caption_source_id IS NULL))
) STRICT;
CREATE INDEX trained_index_by_digest ON trained_index (sha256);
CREATE INDEX trained_index_by_spec ON trained_index (spec_sha256);
CREATE INDEX trained_index_by_images ON trained_index (image_source_id);
CREATE INDEX trained_index_by_captions ON trained_index (caption_source_id);

CREATE TABLE trained_input (
  trained_index_id INTEGER NOT NULL REFERENCES trained_index (id),
  role TEXT NOT NULL CHECK (role IN ('image', 'caption')),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  PRIMARY KEY (trained_index_id, role, ordinal),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX trained_input_by_revision ON trained_input (shard_id, revision);

-- The nearest image of each caption of a training set. The key is the content
-- of both, so that every training on the same pairs shares it.
CREATE TABLE nearest_images (
  inputs_sha256 TEXT PRIMARY KEY CHECK (length(inputs_sha256) = 64),
  sha256 TEXT NOT NULL REFERENCES artifact (sha256),
  pair_count INTEGER NOT NULL CHECK (pair_count >= 1),
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nearest_images_by_digest ON nearest_images (sha256);

CREATE TABLE training_iteration (
  trained_index_id INTEGER NOT NULL REFERENCES trained_index (id),
  iteration INTEGER NOT NULL CHECK (iteration >= 1),
  objective REAL NOT NULL,
  moved_share REAL NOT NULL CHECK (moved_share BETWEEN 0 AND 1),
  imbalance REAL NOT NULL,
  empty_count INTEGER NOT NULL CHECK (empty_count >= 0),
  largest_count INTEGER NOT NULL CHECK (largest_count >= 0),
  PRIMARY KEY (trained_index_id, iteration)
) STRICT, WITHOUT ROWID;

CREATE TABLE index_version (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  number INTEGER NOT NULL CHECK (number >= 1),
  -- abandoned: given up unfinished, its inputs have changed since
  state TEXT NOT NULL CHECK (state IN ('planned', 'building', 'sealed', 'revoked', 'abandoned')),
  trained_index_id INTEGER NOT NULL REFERENCES trained_index (id),
  source_id INTEGER NOT NULL REFERENCES source (id),
  shards_per_output INTEGER NOT NULL CHECK (shards_per_output >= 1),
  missing_policy TEXT NOT NULL CHECK (missing_policy IN ('fail', 'skip')),
  bad_rows_policy TEXT NOT NULL CHECK (bad_rows_policy IN ('fail', 'skip')),
  -- what was asked for, as canonical JSON; the inputs are in version_input
  spec TEXT NOT NULL CHECK (spec GLOB '{*}'),
  spec_sha256 TEXT NOT NULL,
  -- what built it, for the record: by invariant 3 it must not matter
  environment TEXT NOT NULL CHECK (environment GLOB '{*}'),
  created_at TEXT NOT NULL,
  -- SHA-256 of the lock file: spec, inputs, trained index and outputs
  version_sha256 TEXT UNIQUE,
  sealed_at TEXT,
  UNIQUE (name, number),
  CHECK ((state IN ('sealed', 'revoked')) = (version_sha256 IS NOT NULL)),
  CHECK ((state IN ('sealed', 'revoked')) = (sealed_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX one_build_per_spec ON index_version (name, spec_sha256) WHERE state IN ('planned', 'building');
CREATE INDEX index_version_by_trained ON index_version (trained_index_id);
CREATE INDEX index_version_by_source ON index_version (source_id);

CREATE TABLE version_input (
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  -- null while the shard is not bound to bytes yet, and for ever in a hole
  revision INTEGER,
  is_hole INTEGER NOT NULL DEFAULT 0 CHECK (is_hole IN (0, 1)),
  output_ordinal INTEGER NOT NULL CHECK (output_ordinal >= 0),
  first_id INTEGER NOT NULL CHECK (first_id >= 0),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  PRIMARY KEY (version_id, ordinal),
  UNIQUE (version_id, shard_id),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision),
  CHECK (is_hole = 0 OR revision IS NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_input_by_revision ON version_input (shard_id, revision);
CREATE INDEX version_input_by_first_id ON version_input (version_id, first_id);

-- One shard's rows encoded against one trained index. The key is the content
-- of both, so that every version with the same pair shares it.
CREATE TABLE segment (
  trained_sha256 TEXT NOT NULL REFERENCES artifact (sha256),
  shard_sha256 TEXT NOT NULL CHECK (length(shard_sha256) = 64),
  bad_rows_policy TEXT NOT NULL CHECK (bad_rows_policy IN ('fail', 'skip')),
  format_version INTEGER NOT NULL CHECK (format_version >= 1),
  sha256 TEXT NOT NULL REFERENCES artifact (sha256),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  bad_row_count INTEGER NOT NULL DEFAULT 0 CHECK (bad_row_count BETWEEN 0 AND row_count),
  created_at TEXT NOT NULL,
  PRIMARY KEY (trained_sha256, shard_sha256, bad_rows_policy, format_version)
) STRICT, WITHOUT ROWID;
CREATE INDEX segment_by_digest ON segment (sha256);

CREATE TABLE output_shard (
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
  sha256 TEXT NOT NULL REFERENCES artifact (sha256),
  first_input INTEGER NOT NULL CHECK (first_input >= 0),
  last_input INTEGER NOT NULL,
  first_id INTEGER NOT NULL CHECK (first_id >= 0),
  end_id INTEGER NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  byte_count INTEGER NOT NULL CHECK (byte_count > 0),
  -- SHA-256 over the digests of the inverted lists, in list order
  lists_sha256 TEXT NOT NULL CHECK (length(lists_sha256) = 64),
  created_at TEXT NOT NULL,
  PRIMARY KEY (version_id, ordinal),
  CHECK (first_input <= last_input),
  CHECK (first_id + row_count <= end_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX output_shard_by_digest ON output_shard (sha256);

CREATE TABLE reproduction (
  id INTEGER PRIMARY KEY,
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  started_at TEXT NOT NULL,
  ended_at TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('identical', 'same-lists', 'differs', 'inputs-missing')),
  detail TEXT NOT NULL CHECK (detail GLOB '{*}'),
  environment TEXT NOT NULL CHECK (environment GLOB '{*}')
) STRICT;
CREATE INDEX reproduction_by_version ON reproduction (version_id);

-- Invariant 4: an observed revision never changes.
CREATE TRIGGER shard_revision_is_frozen BEFORE UPDATE ON shard_revision
BEGIN SELECT RAISE(ABORT, 'a shard revision never changes'); END;
CREATE TRIGGER shard_revision_is_kept BEFORE DELETE ON shard_revision
BEGIN SELECT RAISE(ABORT, 'a shard revision is never deleted'); END;
CREATE TRIGGER shard_revision_is_not_replaced BEFORE INSERT ON shard_revision
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'a shard revision never changes'); END;
CREATE TRIGGER shard_revision_matches_manifest BEFORE INSERT ON shard_revision
WHEN NEW.trust = 'manifest' AND NOT EXISTS
  (SELECT 1 FROM shard s WHERE s.id = NEW.shard_id AND s.expected_sha256 = NEW.sha256)
BEGIN SELECT RAISE(ABORT, 'the revision is not the one the manifest names'); END;

-- Invariant 4: a sealed version is frozen; it can be revoked, nothing else.
CREATE TRIGGER sealed_version_is_frozen BEFORE UPDATE ON index_version
WHEN OLD.state IN ('sealed', 'revoked') AND NOT (
  NEW.state = 'revoked'
  AND (NEW.id, NEW.name, NEW.number, NEW.trained_index_id, NEW.source_id, NEW.shards_per_output,
       NEW.missing_policy, NEW.bad_rows_policy, NEW.spec, NEW.spec_sha256, NEW.environment,
       NEW.created_at, NEW.version_sha256, NEW.sealed_at)
    = (OLD.id, OLD.name, OLD.number, OLD.trained_index_id, OLD.source_id, OLD.shards_per_output,
       OLD.missing_policy, OLD.bad_rows_policy, OLD.spec, OLD.spec_sha256, OLD.environment,
       OLD.created_at, OLD.version_sha256, OLD.sealed_at))
BEGIN SELECT RAISE(ABORT, 'a sealed version is frozen'); END;
CREATE TRIGGER sealed_version_is_kept BEFORE DELETE ON index_version WHEN OLD.state IN ('sealed', 'revoked')
BEGIN SELECT RAISE(ABORT, 'a sealed version is kept; revoke it instead'); END;
CREATE TRIGGER sealed_version_is_complete BEFORE UPDATE ON index_version
WHEN NEW.state = 'sealed' AND OLD.state <> 'sealed' AND (
  EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.id AND i.is_hole = 0 AND i.revision IS NULL)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.id AND NOT EXISTS
    (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.id AND o.ordinal = i.output_ordinal)))
BEGIN SELECT RAISE(ABORT, 'a version is sealed only when every input is bound and every output is recorded'); END;

CREATE TRIGGER version_input_is_planned BEFORE INSERT ON version_input
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) <> 'planned'
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;
CREATE TRIGGER version_input_is_bound_once BEFORE UPDATE ON version_input
WHEN OLD.revision IS NOT NULL OR OLD.is_hole = 1
  OR (SELECT state FROM index_version WHERE id = OLD.version_id) NOT IN ('planned', 'building')
  OR (NEW.version_id, NEW.ordinal, NEW.shard_id, NEW.output_ordinal, NEW.first_id, NEW.row_count)
    <> (OLD.version_id, OLD.ordinal, OLD.shard_id, OLD.output_ordinal, OLD.first_id, OLD.row_count)
BEGIN SELECT RAISE(ABORT, 'an input of a version is bound once and never changed'); END;
CREATE TRIGGER version_input_keeps_its_length BEFORE UPDATE OF revision ON version_input
WHEN NEW.revision IS NOT NULL AND NEW.row_count <> (SELECT r.row_count FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the revision has another number of rows than the plan'); END;
CREATE TRIGGER version_input_is_kept BEFORE DELETE ON version_input
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) <> 'planned'
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;

CREATE TRIGGER output_shard_while_building BEFORE INSERT ON output_shard
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) <> 'building'
BEGIN SELECT RAISE(ABORT, 'output shards are recorded only while a version is building'); END;
CREATE TRIGGER output_shard_is_frozen BEFORE UPDATE ON output_shard
BEGIN SELECT RAISE(ABORT, 'an output shard never changes'); END;
CREATE TRIGGER output_shard_is_kept BEFORE DELETE ON output_shard
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) <> 'building'
BEGIN SELECT RAISE(ABORT, 'the outputs of a sealed version are kept'); END;

CREATE TRIGGER trained_index_is_frozen BEFORE UPDATE ON trained_index WHEN OLD.state = 'ready'
BEGIN SELECT RAISE(ABORT, 'a trained index never changes'); END;
CREATE TRIGGER trained_index_is_kept BEFORE DELETE ON trained_index WHEN OLD.state = 'ready'
BEGIN SELECT RAISE(ABORT, 'a trained index that is ready is kept'); END;

-- Invariant 4: no bytes go that a trained index or a live version needs.
CREATE TRIGGER artifact_in_use_is_kept BEFORE UPDATE OF state ON artifact
WHEN NEW.state <> 'present' AND OLD.state = 'present' AND (
  EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = OLD.sha256)
  OR EXISTS (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
    WHERE o.sha256 = OLD.sha256 AND v.state NOT IN ('revoked', 'abandoned')))
BEGIN SELECT RAISE(ABORT, 'the artifact is in use'); END;
CREATE TRIGGER artifact_is_kept BEFORE DELETE ON artifact
BEGIN SELECT RAISE(ABORT, 'an artifact''s row is kept when its bytes go'); END;

-- The views are the public interface. Each line documents its column:
-- `tarn schema` prints these comments.

CREATE VIEW v_source AS SELECT
  s.name AS source, -- name of the source
  s.modality AS modality, -- image, text or other
  s.dimension AS dimension, -- elements per row
  s.dtype AS dtype, -- float16 or float32
  count(h.id) AS shards, -- shards registered
  coalesce(sum(h.state IN ('present', 'evicting')), 0) AS present, -- shards whose bytes are in the lake
  coalesce(sum(h.state = 'fetching'), 0) AS fetching, -- shards a transfer is under way for
  coalesce(sum(h.state = 'evicted'), 0) AS evicted, -- shards fetched once, bytes dropped since
  coalesce(sum(h.state IN ('absent', 'failed')), 0) AS failed, -- shards that no mirror could give
  coalesce(sum(r.row_count), 0) AS rows, -- rows of the shards fetched so far
  coalesce(sum(CASE WHEN h.state IN ('present', 'evicting') THEN r.byte_count END), 0) AS present_bytes, -- bytes in the lake
  coalesce(sum(coalesce(r.byte_count, h.expected_byte_count)), 0) AS known_bytes, -- bytes of all shards whose size is known
  s.created_at AS created_at -- when it was registered
FROM source s
LEFT JOIN shard h ON h.source_id = s.id
LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
GROUP BY s.id;

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
  (SELECT l.url FROM shard_location l JOIN mirror m ON m.id = l.mirror_id
    WHERE l.shard_id = h.id ORDER BY m.priority LIMIT 1) AS url -- address on the first mirror
FROM shard h
JOIN source s ON s.id = h.source_id
LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision;

CREATE VIEW v_transfer AS SELECT
  t.id AS transfer, -- number of the attempt
  s.name AS source, -- name of the source
  h.ordinal AS ordinal, -- the shard's place in it
  h.name AS shard, -- the shard's file name
  m.priority AS mirror, -- which mirror, 0 is the first
  t.url AS url, -- address asked
  t.outcome AS outcome, -- complete, unchanged, absent, failed or interrupted
  t.http_status AS http_status, -- status of the last answer
  t.resumed_from AS resumed_from, -- bytes already held when it began
  t.received_byte_count AS received_bytes, -- bytes received
  t.error AS error, -- why it failed
  t.started_at AS started_at, -- when it began
  t.ended_at AS ended_at -- when it ended
FROM transfer t
JOIN shard h ON h.id = t.shard_id
JOIN source s ON s.id = h.source_id
LEFT JOIN mirror m ON m.id = t.mirror_id;

CREATE VIEW v_trained_index AS SELECT
  t.name AS trained_index, -- name of the trained index
  t.state AS state, -- training or ready
  t.method AS method, -- paired-kmeans or kmeans
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  t.dimension AS dimension, -- elements per row
  t.iterations AS iterations, -- k-means iterations asked for
  (SELECT count(*) FROM training_iteration i WHERE i.trained_index_id = t.id) AS iterations_done, -- and done
  t.seed AS seed, -- seed of the sample and of the first centroids
  t.pair_count AS pairs, -- training rows
  i.name AS images, -- image source
  c.name AS captions, -- caption source
  t.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  t.created_at AS created_at, -- when training was asked for
  t.ready_at AS ready_at -- when it was finished
FROM trained_index t
JOIN source i ON i.id = t.image_source_id
LEFT JOIN source c ON c.id = t.caption_source_id
LEFT JOIN artifact a ON a.sha256 = t.sha256;

CREATE VIEW v_version AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.name AS name, -- NAME
  v.number AS number, -- N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  t.name AS trained_index, -- trained index it uses
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  s.name AS source, -- image source
  (SELECT count(*) FROM version_input i WHERE i.version_id = v.id) AS inputs, -- shards in its plan
  (SELECT count(*) FROM version_input i WHERE i.version_id = v.id AND i.is_hole) AS holes, -- shards left out as missing
  (SELECT count(*) FROM output_shard o WHERE o.version_id = v.id) AS outputs, -- output shards finished
  (SELECT coalesce(sum(o.row_count), 0) FROM output_shard o WHERE o.version_id = v.id) AS rows, -- rows in them
  (SELECT coalesce(sum(o.byte_count), 0) FROM output_shard o WHERE o.version_id = v.id) AS bytes, -- size of them
  v.version_sha256 AS sha256, -- digest of the lock file, once sealed
  v.created_at AS created_at, -- when it was planned
  v.sealed_at AS sealed_at -- when it was sealed
FROM index_version v
JOIN trained_index t ON t.id = v.trained_index_id
JOIN source s ON s.id = v.source_id;

CREATE VIEW v_version_input AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  i.ordinal AS input, -- place in the plan, from 0
  s.name AS source, -- name of the source
  h.ordinal AS ordinal, -- the shard's place in the source
  h.name AS shard, -- the shard's file name
  i.revision AS revision, -- pinned revision, null until bound and in a hole
  r.sha256 AS sha256, -- digest of the pinned bytes
  r.byte_count AS bytes, -- size of the pinned bytes
  i.is_hole AS is_hole, -- 1 where the shard was missing and skipped
  i.first_id AS first_id, -- row id of the shard's first row
  i.row_count AS rows, -- rows, or the length of the hole
  i.output_ordinal AS output, -- output shard it goes to
  h.state IN ('present', 'evicting') AND h.current_revision = i.revision AS is_present -- 1 while the pinned bytes are in the lake
FROM version_input i
JOIN index_version v ON v.id = i.version_id
JOIN shard h ON h.id = i.shard_id
JOIN source s ON s.id = h.source_id
LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision;

CREATE VIEW v_output_shard AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  o.ordinal AS output, -- number of the output shard, from 0
  printf('versions/%s@%d/%s.%03d.faiss', v.name, v.number, v.name, o.ordinal) AS file, -- file below the lake
  o.first_input AS first_input, -- first input in it
  o.last_input AS last_input, -- last input in it
  o.first_id AS first_id, -- least row id it may hold
  o.end_id AS end_id, -- one past the greatest
  o.row_count AS rows, -- rows in it
  o.byte_count AS bytes, -- size of the file
  o.sha256 AS sha256, -- digest of the file
  o.lists_sha256 AS lists_sha256, -- digest over the digests of its lists
  o.created_at AS created_at -- when it was finished
FROM output_shard o
JOIN index_version v ON v.id = o.version_id;

CREATE VIEW v_build_progress AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  count(i.ordinal) AS inputs, -- shards in the plan
  coalesce(sum(i.is_hole), 0) AS holes, -- of these left out as missing
  coalesce(sum(g.sha256 IS NOT NULL), 0) AS encoded, -- of these encoded into a segment
  coalesce(sum(i.is_hole = 0 AND g.sha256 IS NULL), 0) AS inputs_left, -- of these not encoded yet
  coalesce(max(i.output_ordinal) + 1, 0) AS outputs, -- output shards in the plan
  (SELECT count(*) FROM output_shard o WHERE o.version_id = v.id) AS outputs_done, -- of these finished
  coalesce(sum(i.row_count), 0) AS rows, -- rows in the plan, holes included
  coalesce(sum(CASE WHEN g.sha256 IS NOT NULL THEN g.row_count END), 0) AS rows_encoded -- rows encoded
FROM index_version v
JOIN trained_index t ON t.id = v.trained_index_id
LEFT JOIN version_input i ON i.version_id = v.id
LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
LEFT JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
  AND g.bad_rows_policy = v.bad_rows_policy
  AND g.format_version = (SELECT max(x.format_version) FROM segment x WHERE x.trained_sha256 = t.sha256
    AND x.shard_sha256 = r.sha256 AND x.bad_rows_policy = v.bad_rows_policy)
GROUP BY v.id;

CREATE VIEW v_storage AS
SELECT
  'shard' AS kind, -- shard, or the kind of artifact
  count(*) AS files, -- files in the lake
  coalesce(sum(r.byte_count), 0) AS bytes -- their size
FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
WHERE h.state IN ('present', 'evicting')
UNION ALL
SELECT kind, count(*), sum(byte_count) FROM artifact WHERE state <> 'deleted' GROUP BY kind;
