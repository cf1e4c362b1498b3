-- The tables of a new catalog: what M0001 to M0028 make of an empty one, indexes,
-- triggers and first rows included. Written by scripts/schema.py; never edited.

CREATE TABLE lake (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uuid TEXT NOT NULL CHECK (length(uuid) = 36),
  shards_directory TEXT NOT NULL CHECK (shards_directory <> ''),
  artifacts_directory TEXT NOT NULL CHECK (artifacts_directory <> ''),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE mirror (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  priority INTEGER NOT NULL CHECK (priority >= 0),
  template TEXT NOT NULL CHECK (template <> ''),
  provenance TEXT NOT NULL DEFAULT 'original' CHECK (provenance IN ('original', 'reconstructed')),
  created_at TEXT NOT NULL, is_of_document INTEGER NOT NULL DEFAULT 0 CHECK (is_of_document IN (0, 1)),
  UNIQUE (source_id, priority),
  UNIQUE (source_id, template)
) STRICT;

CREATE TABLE shard_location (
  shard_id INTEGER NOT NULL REFERENCES shard (id),
  mirror_id INTEGER NOT NULL REFERENCES mirror (id),
  url TEXT NOT NULL CHECK (url <> ''),
  state TEXT NOT NULL DEFAULT 'unknown' CHECK (state IN ('unknown', 'present', 'absent', 'faulty')),
  byte_count INTEGER CHECK (byte_count >= 0),
  etag TEXT,
  last_modified TEXT,
  last_error TEXT,
  checked_at TEXT, row_count INTEGER CHECK (row_count >= 0),
  PRIMARY KEY (shard_id, mirror_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX shard_location_by_mirror ON shard_location (mirror_id);

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
  sealed_at TEXT, ended_at TEXT, published_as TEXT
CHECK (published_as GLOB '?*@[1-9]*' AND published_as <> name || '@' || number),
  UNIQUE (name, number),
  CHECK ((state IN ('sealed', 'revoked')) = (version_sha256 IS NOT NULL)),
  CHECK ((state IN ('sealed', 'revoked')) = (sealed_at IS NOT NULL))
) STRICT;

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
  row_count INTEGER NOT NULL CHECK (row_count >= 0), excluded_rows TEXT
CHECK (excluded_rows IS NULL OR (excluded_rows GLOB '[[][0-9]*]' AND is_hole = 0)),
  PRIMARY KEY (version_id, ordinal),
  UNIQUE (version_id, shard_id),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision),
  CHECK (is_hole = 0 OR revision IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX version_input_by_revision ON version_input (shard_id, revision);

CREATE INDEX version_input_by_first_id ON version_input (version_id, first_id);

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

CREATE TABLE pin (
  id INTEGER PRIMARY KEY,
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  reason TEXT NOT NULL,
  created_at TEXT NOT NULL,
  removed_at TEXT
) STRICT;

CREATE TABLE event (
  seq INTEGER PRIMARY KEY CHECK (seq >= 1),
  at TEXT NOT NULL CHECK (instr(at, char(10)) = 0),
  actor TEXT NOT NULL CHECK (instr(actor, char(10)) = 0),
  verb TEXT NOT NULL CHECK (verb <> '' AND verb NOT GLOB '*[^a-z-]*'),
  subject TEXT NOT NULL CHECK (instr(subject, char(10)) = 0),
  detail TEXT NOT NULL CHECK (detail GLOB '{*}' AND instr(detail, char(10)) = 0),
  prev TEXT NOT NULL CHECK (length(prev) = 64 AND prev NOT GLOB '*[^0-9a-f]*'),
  hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64 AND hash NOT GLOB '*[^0-9a-f]*')
) STRICT;

CREATE INDEX event_by_subject ON event (subject);

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

CREATE TABLE evaluation_point (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
  nprobe INTEGER NOT NULL CHECK (nprobe >= 1),
  vectors_scanned REAL NOT NULL CHECK (vectors_scanned >= 0),
  seconds REAL NOT NULL CHECK (seconds > 0),
  PRIMARY KEY (evaluation_id, nprobe)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation_recall (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
  nprobe INTEGER NOT NULL CHECK (nprobe >= 1),
  k INTEGER NOT NULL CHECK (k >= 1),
  recall REAL NOT NULL CHECK (recall BETWEEN 0 AND 1),
  standard_error REAL NOT NULL CHECK (standard_error >= 0),
  routing_recall REAL NOT NULL CHECK (routing_recall BETWEEN 0 AND 1),
  PRIMARY KEY (evaluation_id, nprobe, k)
) STRICT, WITHOUT ROWID;

CREATE TABLE shard_chunks (
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  chunk_byte_count INTEGER NOT NULL CHECK (chunk_byte_count > 0 AND chunk_byte_count % 64 = 0),
  states BLOB NOT NULL,
  PRIMARY KEY (shard_id, revision),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name TEXT PRIMARY KEY CHECK (name IN ('bwlimit')),
  value TEXT NOT NULL CHECK (length(value) BETWEEN 1 AND 1000),
  changed_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE router_epoch (
  trained_index_id INTEGER NOT NULL REFERENCES trained_index (id),
  epoch INTEGER NOT NULL CHECK (epoch >= 1),
  -- mean cross-entropy while it was trained, in nats
  loss REAL NOT NULL,
  PRIMARY KEY (trained_index_id, epoch)
) STRICT, WITHOUT ROWID;

CREATE INDEX index_version_by_use
ON index_version (trained_index_id, bad_rows_policy, coalesce(ended_at, sealed_at));

CREATE UNIQUE INDEX one_build_per_spec
ON index_version (name, spec_sha256, (CASE WHEN state IN ('planned', 'building') THEN 1 END));

CREATE UNIQUE INDEX pin_in_force ON pin (version_id, (CASE WHEN removed_at IS NULL THEN 1 END));

CREATE INDEX index_version_by_label ON index_version ((name || '@' || number));

CREATE INDEX index_version_unfinished
ON index_version ((CAST(CASE WHEN state IN ('planned', 'building') THEN trained_index_id END AS BIGINT)));

CREATE TABLE place (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE purpose (
  name TEXT PRIMARY KEY,
  place TEXT NOT NULL REFERENCES place (name)
) STRICT, WITHOUT ROWID;

CREATE TABLE trust (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE modality (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE dtype (
  name TEXT PRIMARY KEY,
  byte_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE training_method (
  name TEXT PRIMARY KEY,
  -- whether it trains on pairs
  has_captions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE codec (
  name TEXT PRIMARY KEY,
  -- of each element of a row
  bit_count INTEGER NOT NULL,
  -- whether it scales elements by ranges that were trained
  has_ranges INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE router_method (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

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

CREATE UNIQUE INDEX stored_bytes_by_path ON stored_bytes (place, path);

CREATE INDEX stored_bytes_by_state ON stored_bytes (state, kind);

CREATE TABLE duplicate_file (
  place TEXT NOT NULL REFERENCES place (name),
  path TEXT NOT NULL,
  PRIMARY KEY (place, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE stored_total (
  kind TEXT PRIMARY KEY REFERENCES purpose (name),
  file_count INTEGER NOT NULL DEFAULT 0,
  byte_count INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE lock_text (
  version_id INTEGER PRIMARY KEY REFERENCES index_version (id),
  text TEXT NOT NULL
) STRICT;

CREATE TABLE "source" (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
    CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*' AND name NOT GLOB '[.-]*'),
  modality TEXT NOT NULL REFERENCES modality (name),
  dimension INTEGER NOT NULL CHECK (dimension BETWEEN 1 AND 65536),
  dtype TEXT NOT NULL REFERENCES dtype (name),
  created_at TEXT NOT NULL
, kept_query TEXT NOT NULL DEFAULT '', array_name TEXT CHECK (length(array_name) BETWEEN 1 AND 255), files_of INTEGER REFERENCES source (id), companion_of INTEGER REFERENCES source (id)) STRICT;

CREATE TABLE "shard" (
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
  changed_at TEXT NOT NULL, expected_row_count INTEGER CHECK (expected_row_count >= 0), dropped_row_count INTEGER CHECK (dropped_row_count >= 0),
  UNIQUE (source_id, ordinal),
  UNIQUE (source_id, name),
  FOREIGN KEY (id, current_revision) REFERENCES shard_revision (shard_id, revision) DEFERRABLE INITIALLY DEFERRED,
  CHECK (state NOT IN ('present', 'evicting', 'evicted') OR current_revision IS NOT NULL),
  -- a present shard keeps its bytes while a newer revision is fetched
  CHECK (state <> 'fetching' OR reserved_byte_count IS NOT NULL),
  CHECK (reserved_byte_count IS NULL OR state IN ('fetching', 'present'))
) STRICT;

CREATE INDEX shard_by_state ON shard (source_id, state);

CREATE INDEX shard_by_reservation ON shard (reserved_byte_count);

CREATE INDEX shard_by_revision ON shard (id, current_revision);

CREATE TABLE "shard_revision" (
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

CREATE INDEX shard_revision_by_digest ON shard_revision (sha256);

CREATE INDEX shard_revision_by_mirror ON shard_revision (mirror_id);

CREATE TABLE "trained_index" (
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

CREATE INDEX trained_index_by_digest ON trained_index (sha256);

CREATE INDEX trained_index_by_spec ON trained_index (spec_sha256);

CREATE INDEX trained_index_by_images ON trained_index (image_source_id);

CREATE INDEX trained_index_by_captions ON trained_index (caption_source_id);

CREATE TABLE "trained_router" (
  trained_index_id INTEGER PRIMARY KEY REFERENCES trained_index (id),
  method TEXT NOT NULL REFERENCES router_method (name),
  caption_source_id INTEGER NOT NULL REFERENCES source (id),
  -- captions it is trained on; as many blends of two come on top
  caption_count INTEGER NOT NULL CHECK (caption_count >= 1),
  epochs INTEGER NOT NULL CHECK (epochs >= 0)
) STRICT;

CREATE INDEX trained_router_by_captions ON trained_router (caption_source_id);

CREATE TABLE "nearest_images" (
  inputs_sha256 TEXT PRIMARY KEY CHECK (length(inputs_sha256) = 64),
  purpose TEXT NOT NULL REFERENCES purpose (name),
  sha256 TEXT NOT NULL,
  pair_count INTEGER NOT NULL CHECK (pair_count >= 1),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX nearest_images_by_digest ON nearest_images (sha256);

CREATE TABLE "output_shard" (
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
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL, refine_sha256 TEXT
CHECK (refine_sha256 IS NULL OR (length(refine_sha256) = 64 AND refine_sha256 NOT GLOB '*[^0-9a-f]*')), refine_byte_count INTEGER
CHECK (refine_byte_count IS NULL OR refine_byte_count > 0),
  PRIMARY KEY (version_id, ordinal),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place),
  CHECK (first_input <= last_input),
  CHECK (first_id + row_count <= end_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX output_shard_by_digest ON output_shard (sha256);

CREATE TABLE "evaluation" (
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

CREATE INDEX evaluation_by_version ON evaluation (version_id);

CREATE INDEX evaluation_by_truth ON evaluation (truth_sha256);

CREATE INDEX shard_by_shown_state
ON shard ((CASE WHEN dropped_row_count IS NULL THEN state ELSE 'dropped' END), source_id, state);

CREATE TABLE source_listing (
  source_id INTEGER NOT NULL REFERENCES source (id),
  number INTEGER NOT NULL CHECK (number >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('hub', 'store', 'list')),
  -- as it is read again: hf://…@REVISION/DIR, an address, s3://BUCKET/PREFIX/, or a list's file
  place TEXT NOT NULL CHECK (place <> ''),
  pattern TEXT CHECK (pattern <> ''),
  commit_id TEXT CHECK (length(commit_id) = 40 AND commit_id NOT GLOB '*[^0-9a-f]*'),
  -- of its text: a line for each name that was chosen
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  name_count INTEGER NOT NULL CHECK (name_count >= 1),
  read_at TEXT NOT NULL,
  PRIMARY KEY (source_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE command_run (
  transfer_id INTEGER PRIMARY KEY REFERENCES transfer (id) ON DELETE CASCADE,
  command TEXT NOT NULL,
  -- Null of what a signal ended, or of what never began.
  exit_status INTEGER CHECK (exit_status BETWEEN 0 AND 255),
  signal INTEGER CHECK (signal > 0),
  seconds REAL NOT NULL CHECK (seconds >= 0),
  -- The last that it printed.
  printed TEXT NOT NULL,
  -- What it wrote, where that came into the lake.
  sha256 TEXT CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  CHECK (exit_status IS NULL OR signal IS NULL),
  CHECK (sha256 IS NULL OR exit_status = 0)
) STRICT;

CREATE INDEX command_run_by_digest ON command_run (sha256);

CREATE TABLE command_input (
  transfer_id INTEGER NOT NULL REFERENCES command_run (transfer_id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  byte_count INTEGER NOT NULL CHECK (byte_count >= 0),
  PRIMARY KEY (transfer_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX source_by_files ON source (coalesce(files_of, id));

CREATE INDEX source_by_owner ON source (files_of);

CREATE TABLE "segment" (
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

CREATE INDEX segment_by_digest ON segment (sha256);

CREATE TABLE exclusion_list (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  -- of the source, from 1; what a later list says of a row goes before what an earlier one says
  number INTEGER NOT NULL CHECK (number >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('exclude', 'readmit')),
  reason TEXT NOT NULL CHECK (reason <> ''),
  row_count INTEGER NOT NULL CHECK (row_count >= 1),
  -- over the lines 'SHA-256 of the shard, row' of its rows
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  created_at TEXT NOT NULL, rule_id INTEGER REFERENCES exclusion_rule (id),
  UNIQUE (source_id, number)
) STRICT;

CREATE TABLE exclusion_row (
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  row INTEGER NOT NULL CHECK (row >= 0),
  list_id INTEGER NOT NULL REFERENCES exclusion_list (id), value_sha256 TEXT
CHECK (value_sha256 IS NULL OR (length(value_sha256) = 64 AND value_sha256 NOT GLOB '*[^0-9a-f]*')),
  PRIMARY KEY (shard_id, revision, row, list_id),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX exclusion_row_by_list ON exclusion_row (list_id);

CREATE INDEX source_by_companion ON source (companion_of);

CREATE TABLE version_companion (
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  bound_at TEXT NOT NULL,
  PRIMARY KEY (version_id, shard_id, revision),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX version_companion_by_revision ON version_companion (shard_id, revision);

CREATE INDEX output_shard_by_refine ON output_shard (refine_sha256);

CREATE TABLE exclusion_rule (
  id INTEGER PRIMARY KEY,
  source_id INTEGER NOT NULL REFERENCES source (id),
  -- of the source, from 1; what a later rule says of a value of a column goes before what an earlier one says
  number INTEGER NOT NULL CHECK (number >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('exclude', 'readmit')),
  companion_id INTEGER NOT NULL REFERENCES source (id),
  column_name TEXT NOT NULL CHECK (column_name <> ''),
  reason TEXT NOT NULL CHECK (reason <> ''),
  value_count INTEGER NOT NULL CHECK (value_count >= 1),
  -- over a line for each value, its SHA-256, ascending
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  created_at TEXT NOT NULL,
  UNIQUE (source_id, number)
) STRICT;

CREATE INDEX exclusion_rule_by_companion ON exclusion_rule (companion_id);

CREATE TABLE exclusion_value (
  rule_id INTEGER NOT NULL REFERENCES exclusion_rule (id),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  PRIMARY KEY (rule_id, sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX exclusion_value_by_digest ON exclusion_value (sha256);

CREATE TABLE exclusion_scan (
  rule_id INTEGER NOT NULL REFERENCES exclusion_rule (id),
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  companion_shard_id INTEGER NOT NULL,
  companion_revision INTEGER NOT NULL,
  PRIMARY KEY (rule_id, shard_id, revision, companion_shard_id, companion_revision),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision),
  FOREIGN KEY (companion_shard_id, companion_revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX exclusion_scan_by_shard ON exclusion_scan (shard_id, revision);

CREATE INDEX exclusion_scan_by_companion ON exclusion_scan (companion_shard_id, companion_revision);

CREATE INDEX exclusion_list_by_rule ON exclusion_list (rule_id);

CREATE TABLE "pack" (
  companion_sha256 TEXT NOT NULL CHECK (length(companion_sha256) = 64),
  format_version INTEGER NOT NULL CHECK (format_version >= 1),
  -- as a JSON array in the order of names; empty for all that can be read
  columns TEXT NOT NULL CHECK (columns = '' OR columns GLOB '[[]*]'),
  without_rows TEXT NOT NULL DEFAULT '' CHECK (without_rows = '' OR without_rows GLOB '[[][0-9]*]'),
  sha256 TEXT NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  PRIMARY KEY (companion_sha256, format_version, columns, without_rows),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX pack_by_digest ON pack (sha256);

INSERT INTO place VALUES
  ('artifacts'),
  ('shards');

INSERT INTO purpose VALUES
  ('evaluation-truth', 'artifacts'),
  ('nearest-images', 'artifacts'),
  ('output-shard', 'artifacts'),
  ('pack', 'artifacts'),
  ('refine-shard', 'artifacts'),
  ('router-labels', 'artifacts'),
  ('segment', 'artifacts'),
  ('shard', 'shards'),
  ('trained-index', 'artifacts');

INSERT INTO trust VALUES
  ('first-use'),
  ('manifest'),
  ('worker');

INSERT INTO modality VALUES
  ('image'),
  ('index'),
  ('other'),
  ('text');

INSERT INTO dtype VALUES
  ('bfloat16', 2),
  ('float16', 2),
  ('float32', 4),
  ('float64', 8),
  ('int8', 1),
  ('uint8', 1);

INSERT INTO training_method VALUES
  ('adopted', 0),
  ('kmeans', 0),
  ('paired-kmeans', 1);

INSERT INTO codec VALUES
  ('flat', 32, 0),
  ('fp16', 16, 0),
  ('sq4', 4, 1),
  ('sq8', 8, 1);

INSERT INTO router_method VALUES
  ('anchored'),
  ('caption-mean'),
  ('learned');

INSERT INTO stored_total VALUES
  ('evaluation-truth', 0, 0),
  ('nearest-images', 0, 0),
  ('output-shard', 0, 0),
  ('pack', 0, 0),
  ('refine-shard', 0, 0),
  ('router-labels', 0, 0),
  ('segment', 0, 0),
  ('shard', 0, 0),
  ('trained-index', 0, 0);

ANALYZE sqlite_schema;

INSERT INTO sqlite_stat1 VALUES
  ('mirror', NULL, '40'),
  ('index_version', NULL, '100'),
  ('transfer', 'transfer_by_shard', '1000000 1'),
  ('transfer', 'transfer_by_mirror', '1000000 50000'),
  ('source', NULL, '20'),
  ('trained_index', NULL, '20'),
  ('codec', NULL, '10'),
  ('shard', 'sqlite_autoindex_shard_1', '1000000 50000 1'),
  ('shard', 'sqlite_autoindex_shard_2', '1000000 50000 1'),
  ('shard', 'shard_by_state', '1000000 50000 10000'),
  ('shard', 'shard_by_revision', '1000000 1 1');

ANALYZE sqlite_schema;

CREATE TRIGGER sealed_version_is_kept BEFORE DELETE ON index_version WHEN OLD.state IN ('sealed', 'revoked')
BEGIN SELECT RAISE(ABORT, 'a sealed version is kept; revoke it instead'); END;

CREATE TRIGGER sealed_version_is_complete BEFORE UPDATE ON index_version
WHEN NEW.state = 'sealed' AND OLD.state <> 'sealed' AND (
  EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.id AND i.is_hole = 0 AND i.revision IS NULL)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.id AND NOT EXISTS
    (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.id AND o.ordinal = i.output_ordinal)))
BEGIN SELECT RAISE(ABORT, 'a version is sealed only when every input is bound and every output is recorded'); END;

CREATE TRIGGER event_is_appended BEFORE INSERT ON event
WHEN NEW.seq IS NOT (SELECT coalesce(max(e.seq), 0) + 1 FROM event e)
  OR NEW.prev IS NOT coalesce((SELECT e.hash FROM event e ORDER BY e.seq DESC LIMIT 1), printf('%064d', 0))
  OR EXISTS (SELECT 1 FROM event e WHERE e.hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'an event is appended to the chain'); END;

CREATE TRIGGER event_is_frozen BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'an event never changes'); END;

CREATE TRIGGER event_is_kept BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'an event is kept'); END;

CREATE TRIGGER lake_is_one BEFORE INSERT ON lake WHEN EXISTS (SELECT 1 FROM lake)
BEGIN SELECT RAISE(ABORT, 'a catalog is of one lake'); END;

CREATE TRIGGER lake_is_frozen BEFORE UPDATE ON lake
WHEN (NEW.id, NEW.uuid, NEW.created_at) IS NOT (OLD.id, OLD.uuid, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'the identity of a lake never changes'); END;

CREATE TRIGGER lake_is_kept BEFORE DELETE ON lake
BEGIN SELECT RAISE(ABORT, 'the identity of a lake is kept'); END;

CREATE TRIGGER mirror_is_not_replaced BEFORE INSERT ON mirror
WHEN EXISTS (SELECT 1 FROM mirror m WHERE m.id = NEW.id OR (m.source_id = NEW.source_id
  AND (m.priority = NEW.priority OR m.template = NEW.template)))
BEGIN SELECT RAISE(ABORT, 'there is a mirror of that number, priority or template'); END;

CREATE TRIGGER mirror_is_frozen BEFORE UPDATE ON mirror
WHEN (NEW.id, NEW.source_id) <> (OLD.id, OLD.source_id)
  OR EXISTS (SELECT 1 FROM mirror m WHERE m.id <> OLD.id AND m.source_id = NEW.source_id
    AND (m.priority = NEW.priority OR m.template = NEW.template))
  OR (NEW.template <> OLD.template AND EXISTS (SELECT 1 FROM shard_revision r WHERE r.mirror_id = OLD.id))
BEGIN SELECT RAISE(ABORT, 'a mirror never changes once a revision came from it'); END;

CREATE TRIGGER mirror_is_kept BEFORE DELETE ON mirror
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.mirror_id = OLD.id)
  OR EXISTS (SELECT 1 FROM shard_location l WHERE l.mirror_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a mirror that shards refer to is kept'); END;

CREATE TRIGGER index_version_is_planned_first BEFORE INSERT ON index_version
WHEN NEW.state <> 'planned'
  OR EXISTS (SELECT 1 FROM index_version v WHERE v.id = NEW.id
    OR (v.name = NEW.name AND (v.number = NEW.number
      OR (v.spec_sha256 = NEW.spec_sha256 AND v.state IN ('planned', 'building')))))
  OR (SELECT t.state FROM trained_index t WHERE t.id = NEW.trained_index_id) IS NOT 'ready'
BEGIN SELECT RAISE(ABORT, 'a version begins as planned, under a number of its own, on a ready trained index'); END;

CREATE TRIGGER index_version_moves BEFORE UPDATE ON index_version
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'planned' THEN NEW.state IN ('building', 'abandoned')
    WHEN 'building' THEN NEW.state IN ('sealed', 'abandoned')
    WHEN 'sealed' THEN NEW.state = 'revoked'
    ELSE 0 END)
  OR (NEW.state IN ('revoked', 'abandoned') AND NEW.state <> OLD.state) <> (NEW.ended_at IS NOT OLD.ended_at)
  OR (NEW.ended_at IS NULL AND NEW.state IN ('revoked', 'abandoned') AND NEW.state <> OLD.state)
BEGIN SELECT RAISE(ABORT, 'a version cannot go from the one state to the other'); END;

CREATE TRIGGER version_digest_is_its_own BEFORE UPDATE ON index_version
WHEN NEW.version_sha256 IS NOT OLD.version_sha256
  AND EXISTS (SELECT 1 FROM index_version v WHERE v.version_sha256 = NEW.version_sha256)
BEGIN SELECT RAISE(ABORT, 'another version has that digest'); END;

CREATE TRIGGER index_version_is_kept BEFORE DELETE ON index_version
BEGIN SELECT RAISE(ABORT, 'a version''s row is kept'); END;

CREATE TRIGGER version_input_is_planned BEFORE INSERT ON version_input
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) IS NOT 'planned'
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.version_id AND i.ordinal = NEW.ordinal)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.version_id AND i.shard_id = NEW.shard_id)
  OR NOT EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id)
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;

CREATE TRIGGER version_input_keeps_its_length BEFORE UPDATE OF revision ON version_input
WHEN NEW.revision IS NOT NULL AND NEW.row_count IS NOT (SELECT r.row_count FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the revision has another number of rows than the plan'); END;

CREATE TRIGGER version_input_has_its_length BEFORE INSERT ON version_input
WHEN NEW.revision IS NOT NULL AND NEW.row_count IS NOT (SELECT r.row_count FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the revision has another number of rows than the plan'); END;

CREATE TRIGGER version_input_is_kept BEFORE DELETE ON version_input
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) IS NOT 'planned'
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;

CREATE TRIGGER trained_input_while_training BEFORE INSERT ON trained_input
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
  OR NOT EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the inputs of a trained index are fixed when it is planned'); END;

CREATE TRIGGER trained_input_is_frozen BEFORE UPDATE ON trained_input
BEGIN SELECT RAISE(ABORT, 'an input of a trained index never changes'); END;

CREATE TRIGGER training_iteration_while_training BEFORE INSERT ON training_iteration
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'iterations are recorded only while a trained index is in training'); END;

CREATE TRIGGER training_iteration_is_frozen BEFORE UPDATE ON training_iteration
BEGIN SELECT RAISE(ABORT, 'a recorded iteration never changes'); END;

CREATE TRIGGER pin_is_not_replaced BEFORE INSERT ON pin
WHEN NEW.removed_at IS NOT NULL OR EXISTS (SELECT 1 FROM pin p WHERE p.id = NEW.id
  OR (p.version_id = NEW.version_id AND p.removed_at IS NULL))
BEGIN SELECT RAISE(ABORT, 'a version is pinned once'); END;

CREATE TRIGGER pin_is_frozen BEFORE UPDATE ON pin
WHEN (NEW.id, NEW.version_id, NEW.reason, NEW.created_at) <> (OLD.id, OLD.version_id, OLD.reason, OLD.created_at)
  OR OLD.removed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a pin is removed, nothing else'); END;

CREATE TRIGGER pin_is_kept BEFORE DELETE ON pin
BEGIN SELECT RAISE(ABORT, 'a pin''s row is kept when it is removed'); END;

CREATE TRIGGER reproduction_is_not_replaced BEFORE INSERT ON reproduction
WHEN EXISTS (SELECT 1 FROM reproduction r WHERE r.id = NEW.id)
  OR NOT EXISTS (SELECT 1 FROM index_version v WHERE v.id = NEW.version_id)
BEGIN SELECT RAISE(ABORT, 'the outcome of a reproduction never changes'); END;

CREATE TRIGGER reproduction_is_frozen BEFORE UPDATE ON reproduction
BEGIN SELECT RAISE(ABORT, 'the outcome of a reproduction never changes'); END;

CREATE TRIGGER reproduction_is_kept BEFORE DELETE ON reproduction
BEGIN SELECT RAISE(ABORT, 'the outcome of a reproduction is kept'); END;

CREATE TRIGGER version_total_begins AFTER INSERT ON index_version
BEGIN INSERT INTO version_total (version_id) VALUES (NEW.id); END;

CREATE TRIGGER evaluation_point_is_not_replaced BEFORE INSERT ON evaluation_point
WHEN EXISTS (SELECT 1 FROM evaluation_point p WHERE p.evaluation_id = NEW.evaluation_id AND p.nprobe = NEW.nprobe)
  OR NOT EXISTS (SELECT 1 FROM evaluation e WHERE e.id = NEW.evaluation_id)
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;

CREATE TRIGGER evaluation_point_is_frozen BEFORE UPDATE ON evaluation_point
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;

CREATE TRIGGER evaluation_point_is_kept BEFORE DELETE ON evaluation_point
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;

CREATE TRIGGER evaluation_recall_is_not_replaced BEFORE INSERT ON evaluation_recall
WHEN EXISTS (SELECT 1 FROM evaluation_recall r WHERE r.evaluation_id = NEW.evaluation_id AND r.nprobe = NEW.nprobe
    AND r.k = NEW.k)
  OR NOT EXISTS (SELECT 1 FROM evaluation_point p WHERE p.evaluation_id = NEW.evaluation_id AND p.nprobe = NEW.nprobe)
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;

CREATE TRIGGER evaluation_recall_is_frozen BEFORE UPDATE ON evaluation_recall
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;

CREATE TRIGGER evaluation_recall_is_kept BEFORE DELETE ON evaluation_recall
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;

CREATE TRIGGER shard_chunks_fit BEFORE INSERT ON shard_chunks
WHEN length(NEW.states) IS NOT (SELECT 32 * (r.byte_count / NEW.chunk_byte_count) FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'a revision has one state for each of its whole chunks'); END;

CREATE TRIGGER shard_chunks_are_not_replaced BEFORE INSERT ON shard_chunks
WHEN EXISTS (SELECT 1 FROM shard_chunks c WHERE c.shard_id = NEW.shard_id AND c.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision never change'); END;

CREATE TRIGGER shard_chunks_are_frozen BEFORE UPDATE ON shard_chunks
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision never change'); END;

CREATE TRIGGER shard_chunks_are_kept BEFORE DELETE ON shard_chunks
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision are kept'); END;

CREATE TRIGGER router_epoch_while_training BEFORE INSERT ON router_epoch
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'epochs are recorded only while a trained index is in training'); END;

CREATE TRIGGER router_epoch_is_frozen BEFORE UPDATE ON router_epoch
BEGIN SELECT RAISE(ABORT, 'a recorded epoch never changes'); END;

CREATE TRIGGER place_is_not_replaced BEFORE INSERT ON place WHEN EXISTS (SELECT 1 FROM place x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a place of that name'); END;

CREATE TRIGGER place_is_frozen BEFORE UPDATE ON place BEGIN SELECT RAISE(ABORT, 'a place never changes'); END;

CREATE TRIGGER place_is_kept BEFORE DELETE ON place BEGIN SELECT RAISE(ABORT, 'a place is kept'); END;

CREATE TRIGGER purpose_is_not_replaced BEFORE INSERT ON purpose
WHEN EXISTS (SELECT 1 FROM purpose x WHERE x.name = NEW.name) OR NOT EXISTS (SELECT 1 FROM place x WHERE x.name = NEW.place)
BEGIN SELECT RAISE(ABORT, 'there is a purpose of that name, or no such place'); END;

CREATE TRIGGER purpose_is_frozen BEFORE UPDATE ON purpose BEGIN SELECT RAISE(ABORT, 'a purpose never changes'); END;

CREATE TRIGGER purpose_is_kept BEFORE DELETE ON purpose BEGIN SELECT RAISE(ABORT, 'a purpose is kept'); END;

CREATE TRIGGER trust_is_not_replaced BEFORE INSERT ON trust WHEN EXISTS (SELECT 1 FROM trust x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a trust of that name'); END;

CREATE TRIGGER trust_is_frozen BEFORE UPDATE ON trust BEGIN SELECT RAISE(ABORT, 'a trust never changes'); END;

CREATE TRIGGER trust_is_kept BEFORE DELETE ON trust BEGIN SELECT RAISE(ABORT, 'a trust is kept'); END;

CREATE TRIGGER modality_is_not_replaced BEFORE INSERT ON modality
WHEN EXISTS (SELECT 1 FROM modality x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a modality of that name'); END;

CREATE TRIGGER modality_is_frozen BEFORE UPDATE ON modality BEGIN SELECT RAISE(ABORT, 'a modality never changes'); END;

CREATE TRIGGER modality_is_kept BEFORE DELETE ON modality BEGIN SELECT RAISE(ABORT, 'a modality is kept'); END;

CREATE TRIGGER dtype_is_not_replaced BEFORE INSERT ON dtype WHEN EXISTS (SELECT 1 FROM dtype x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a dtype of that name'); END;

CREATE TRIGGER dtype_is_frozen BEFORE UPDATE ON dtype BEGIN SELECT RAISE(ABORT, 'a dtype never changes'); END;

CREATE TRIGGER dtype_is_kept BEFORE DELETE ON dtype BEGIN SELECT RAISE(ABORT, 'a dtype is kept'); END;

CREATE TRIGGER training_method_is_not_replaced BEFORE INSERT ON training_method
WHEN EXISTS (SELECT 1 FROM training_method x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a method of that name'); END;

CREATE TRIGGER training_method_is_frozen BEFORE UPDATE ON training_method
BEGIN SELECT RAISE(ABORT, 'a method never changes'); END;

CREATE TRIGGER training_method_is_kept BEFORE DELETE ON training_method
BEGIN SELECT RAISE(ABORT, 'a method is kept'); END;

CREATE TRIGGER codec_is_not_replaced BEFORE INSERT ON codec WHEN EXISTS (SELECT 1 FROM codec x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a codec of that name'); END;

CREATE TRIGGER codec_is_frozen BEFORE UPDATE ON codec BEGIN SELECT RAISE(ABORT, 'a codec never changes'); END;

CREATE TRIGGER codec_is_kept BEFORE DELETE ON codec BEGIN SELECT RAISE(ABORT, 'a codec is kept'); END;

CREATE TRIGGER router_method_is_not_replaced BEFORE INSERT ON router_method
WHEN EXISTS (SELECT 1 FROM router_method x WHERE x.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a router of that name'); END;

CREATE TRIGGER router_method_is_frozen BEFORE UPDATE ON router_method
BEGIN SELECT RAISE(ABORT, 'a router''s method never changes'); END;

CREATE TRIGGER router_method_is_kept BEFORE DELETE ON router_method
BEGIN SELECT RAISE(ABORT, 'a router''s method is kept'); END;

CREATE TRIGGER source_is_not_replaced BEFORE INSERT ON source
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.id) OR EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a source of that name or number'); END;

CREATE TRIGGER source_is_of_a_kind BEFORE INSERT ON source
WHEN NOT EXISTS (SELECT 1 FROM modality m WHERE m.name = NEW.modality)
  OR NOT EXISTS (SELECT 1 FROM dtype d WHERE d.name = NEW.dtype)
BEGIN SELECT RAISE(ABORT, 'a source has a known modality and dtype'); END;

CREATE TRIGGER source_is_kept BEFORE DELETE ON source
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id)
  OR EXISTS (SELECT 1 FROM mirror m WHERE m.source_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a source with shards or mirrors is kept'); END;

CREATE TRIGGER shard_location_is_of_one_place BEFORE UPDATE ON shard_location
WHEN (NEW.shard_id, NEW.mirror_id) IS NOT (OLD.shard_id, OLD.mirror_id)
BEGIN SELECT RAISE(ABORT, 'what is known of a shard on a mirror stays about these'); END;

CREATE TRIGGER transfer_is_not_replaced BEFORE INSERT ON transfer
WHEN EXISTS (SELECT 1 FROM transfer t WHERE t.id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;

CREATE TRIGGER transfer_is_frozen BEFORE UPDATE ON transfer
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;

CREATE TRIGGER shard_is_not_replaced BEFORE INSERT ON shard
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.id)
  OR EXISTS (SELECT 1 FROM shard h WHERE h.source_id = NEW.source_id AND h.ordinal = NEW.ordinal)
  OR EXISTS (SELECT 1 FROM shard h WHERE h.source_id = NEW.source_id AND h.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a shard of that number, place or name'); END;

CREATE TRIGGER shard_begins_unobserved BEFORE INSERT ON shard
WHEN NEW.current_revision IS NOT NULL OR coalesce(NEW.state, '') IN ('present', 'evicting', 'evicted')
BEGIN SELECT RAISE(ABORT, 'a shard is registered before its bytes are observed'); END;

CREATE TRIGGER shard_identity_is_frozen BEFORE UPDATE ON shard
WHEN (NEW.id, NEW.source_id, NEW.ordinal, NEW.name) IS NOT (OLD.id, OLD.source_id, OLD.ordinal, OLD.name)
BEGIN SELECT RAISE(ABORT, 'a shard keeps its place and name'); END;

CREATE TRIGGER shard_revision_is_known BEFORE UPDATE ON shard
WHEN NEW.current_revision IS NOT OLD.current_revision AND NOT EXISTS (SELECT 1 FROM shard_revision r
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision)
BEGIN SELECT RAISE(ABORT, 'a shard has a revision that was observed'); END;

CREATE TRIGGER shard_moves BEFORE UPDATE ON shard
WHEN NEW.state IS NOT OLD.state AND CASE OLD.state
  WHEN 'fetching' THEN NEW.state IN ('present', 'registered', 'evicted', 'absent', 'failed')
  WHEN 'present' THEN NEW.state = 'evicting'
  WHEN 'evicting' THEN NEW.state = 'evicted'
  ELSE NEW.state IN ('fetching', 'present') END IS NOT 1
BEGIN SELECT RAISE(ABORT, 'a shard cannot go from the one state to the other'); END;

CREATE TRIGGER shard_has_bytes BEFORE UPDATE ON shard
WHEN NEW.state = 'present' AND (OLD.state, OLD.current_revision) IS NOT (NEW.state, NEW.current_revision)
  AND NOT EXISTS (SELECT 1 FROM shard_revision r
    JOIN stored_bytes b ON b.sha256 = r.sha256 AND b.place = 'shards' AND b.state = 'present'
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision)
BEGIN SELECT RAISE(ABORT, 'the bytes of a shard are in the lake when it is present'); END;

CREATE TRIGGER shard_is_kept BEFORE DELETE ON shard
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = OLD.id)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.shard_id = OLD.id)
  OR EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a shard that something refers to is kept'); END;

CREATE TRIGGER shard_revision_is_not_replaced BEFORE INSERT ON shard_revision
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = NEW.shard_id
  AND (r.revision = NEW.revision OR r.sha256 = NEW.sha256))
BEGIN SELECT RAISE(ABORT, 'a shard revision never changes'); END;

CREATE TRIGGER shard_revision_is_of_a_shard BEFORE INSERT ON shard_revision
WHEN NOT EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id)
  OR NOT EXISTS (SELECT 1 FROM trust t WHERE t.name = NEW.trust)
BEGIN SELECT RAISE(ABORT, 'a revision is of a shard, and somebody vouches for it'); END;

CREATE TRIGGER shard_revision_matches_manifest BEFORE INSERT ON shard_revision
WHEN NEW.trust = 'manifest' AND NOT EXISTS
  (SELECT 1 FROM shard s WHERE s.id = NEW.shard_id AND s.expected_sha256 = NEW.sha256)
BEGIN SELECT RAISE(ABORT, 'the revision is not the one the manifest names'); END;

CREATE TRIGGER shard_revision_is_frozen BEFORE UPDATE ON shard_revision
BEGIN SELECT RAISE(ABORT, 'a shard revision never changes'); END;

CREATE TRIGGER shard_revision_is_kept BEFORE DELETE ON shard_revision
BEGIN SELECT RAISE(ABORT, 'a shard revision is never deleted'); END;

CREATE TRIGGER stored_bytes_are_not_replaced BEFORE INSERT ON stored_bytes
WHEN NEW.state IS NOT 'present'
  OR EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = NEW.place)
  OR EXISTS (SELECT 1 FROM stored_bytes b WHERE b.place = NEW.place AND b.path = NEW.path)
BEGIN SELECT RAISE(ABORT, 'stored bytes never change'); END;

CREATE TRIGGER stored_bytes_are_of_a_kind BEFORE INSERT ON stored_bytes
WHEN NOT EXISTS (SELECT 1 FROM purpose p WHERE p.name = NEW.kind AND p.place = NEW.place)
  OR (NEW.path GLOB '/*' OR NEW.path GLOB '*..*') IS NOT 0
BEGIN SELECT RAISE(ABORT, 'bytes of that kind are not stored there'); END;

CREATE TRIGGER stored_bytes_are_frozen BEFORE UPDATE ON stored_bytes
WHEN (NEW.sha256, NEW.place, NEW.kind, NEW.byte_count, NEW.path, NEW.created_at)
  IS NOT (OLD.sha256, OLD.place, OLD.kind, OLD.byte_count, OLD.path, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'stored bytes never change'); END;

CREATE TRIGGER stored_bytes_move BEFORE UPDATE ON stored_bytes
WHEN NEW.state IS NOT OLD.state AND CASE OLD.state
    WHEN 'present' THEN NEW.state = 'deleting' AND NEW.deleting_at IS NOT NULL
    WHEN 'deleting' THEN NEW.state IN ('deleted', 'present')
    ELSE NEW.state = 'present' END IS NOT 1
BEGIN SELECT RAISE(ABORT, 'stored bytes cannot go from the one state to the other'); END;

CREATE TRIGGER stored_bytes_in_use_are_kept BEFORE UPDATE ON stored_bytes
WHEN NEW.state IS NOT 'present' AND (
  (OLD.place = 'shards' AND EXISTS (SELECT 1 FROM shard_revision r
    JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.state = 'present'
    WHERE r.sha256 = OLD.sha256))
  OR (OLD.place = 'artifacts' AND (
    EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = OLD.sha256)
    OR EXISTS (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
      WHERE o.sha256 = OLD.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
        OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL))))))
BEGIN SELECT RAISE(ABORT, 'the bytes are in use'); END;

CREATE TRIGGER stored_bytes_are_kept BEFORE DELETE ON stored_bytes
BEGIN SELECT RAISE(ABORT, 'the row of stored bytes is kept when they go'); END;

CREATE TRIGGER shard_lets_go AFTER UPDATE ON shard
WHEN OLD.state = 'present' AND (NEW.state, NEW.current_revision) IS NOT (OLD.state, OLD.current_revision)
BEGIN
  UPDATE stored_bytes SET state = 'deleting', deleting_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
  WHERE place = 'shards' AND state = 'present'
    AND sha256 = (SELECT r.sha256 FROM shard_revision r WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision)
    AND NOT EXISTS (SELECT 1 FROM shard_revision r
      JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.state = 'present'
      WHERE r.sha256 = stored_bytes.sha256);
END;

CREATE TRIGGER duplicate_file_is_known BEFORE INSERT ON duplicate_file
BEGIN SELECT RAISE(ABORT, 'no file is a duplicate any more'); END;

CREATE TRIGGER duplicate_file_is_frozen BEFORE UPDATE ON duplicate_file
BEGIN SELECT RAISE(ABORT, 'a duplicate file is removed, nothing else'); END;

CREATE TRIGGER trained_index_is_not_replaced BEFORE INSERT ON trained_index
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = NEW.id)
  OR EXISTS (SELECT 1 FROM trained_index t WHERE t.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a trained index of that name or number'); END;

CREATE TRIGGER trained_index_begins_in_training BEFORE INSERT ON trained_index
WHEN NEW.state IS NOT 'training' OR NEW.sha256 IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a trained index begins in training'); END;

CREATE TRIGGER trained_index_is_of_a_kind BEFORE INSERT ON trained_index
WHEN NOT EXISTS (SELECT 1 FROM codec c WHERE c.name = NEW.codec)
  OR NOT EXISTS (SELECT 1 FROM training_method m WHERE m.name = NEW.method
    AND m.has_captions = (NEW.caption_source_id IS NOT NULL))
BEGIN SELECT RAISE(ABORT, 'a trained index has a known method and codec, and captions where the method has them'); END;

CREATE TRIGGER trained_index_has_bytes BEFORE UPDATE ON trained_index
WHEN (NEW.state = 'ready' OR NEW.sha256 IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM stored_bytes b
  WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts' AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'the bytes of a trained index are in the lake when it is ready'); END;

CREATE TRIGGER trained_router_while_training BEFORE INSERT ON trained_router
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
  OR EXISTS (SELECT 1 FROM trained_router r WHERE r.trained_index_id = NEW.trained_index_id)
  OR NOT EXISTS (SELECT 1 FROM router_method m WHERE m.name = NEW.method)
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is fixed when it is planned'); END;

CREATE TRIGGER trained_router_is_frozen BEFORE UPDATE ON trained_router
BEGIN SELECT RAISE(ABORT, 'the router of a trained index never changes'); END;

CREATE TRIGGER nearest_images_are_not_replaced BEFORE INSERT ON nearest_images
WHEN EXISTS (SELECT 1 FROM nearest_images n WHERE n.inputs_sha256 = NEW.inputs_sha256)
BEGIN SELECT RAISE(ABORT, 'recorded nearest images never change'); END;

CREATE TRIGGER nearest_images_have_bytes BEFORE INSERT ON nearest_images
WHEN NEW.purpose IS NULL OR NEW.purpose NOT IN ('nearest-images', 'router-labels', 'evaluation-truth')
  OR NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts'
    AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'the bytes of nearest images are in the lake when they are recorded'); END;

CREATE TRIGGER nearest_images_are_frozen BEFORE UPDATE ON nearest_images
BEGIN SELECT RAISE(ABORT, 'recorded nearest images never change'); END;

CREATE TRIGGER nearest_images_are_kept BEFORE DELETE ON nearest_images
BEGIN SELECT RAISE(ABORT, 'recorded nearest images are kept'); END;

CREATE TRIGGER output_shard_while_building BEFORE INSERT ON output_shard
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) IS NOT 'building'
BEGIN SELECT RAISE(ABORT, 'output shards are recorded only while a version is building'); END;

CREATE TRIGGER output_shard_is_not_replaced BEFORE INSERT ON output_shard
WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id AND o.ordinal = NEW.ordinal)
BEGIN SELECT RAISE(ABORT, 'an output shard never changes'); END;

CREATE TRIGGER output_shard_has_bytes BEFORE INSERT ON output_shard
WHEN NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts'
  AND b.state = 'present' AND b.byte_count = NEW.byte_count)
BEGIN SELECT RAISE(ABORT, 'the bytes of an output shard are in the lake when it is recorded'); END;

CREATE TRIGGER output_shard_is_frozen BEFORE UPDATE ON output_shard
BEGIN SELECT RAISE(ABORT, 'an output shard never changes'); END;

CREATE TRIGGER output_shard_is_kept BEFORE DELETE ON output_shard
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) IS NOT 'building'
BEGIN SELECT RAISE(ABORT, 'the outputs of a sealed version are kept'); END;

CREATE TRIGGER pin_has_bytes BEFORE INSERT ON pin
WHEN (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = NEW.version_id) IS NOT 1
  OR EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id AND NOT EXISTS
    (SELECT 1 FROM stored_bytes b WHERE b.sha256 = o.sha256 AND b.place = 'artifacts' AND b.state = 'present'))
BEGIN SELECT RAISE(ABORT, 'only a version whose outputs are in the lake can be pinned'); END;

CREATE TRIGGER evaluation_is_not_replaced BEFORE INSERT ON evaluation
WHEN EXISTS (SELECT 1 FROM evaluation e WHERE e.id = NEW.id)
  OR (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = NEW.version_id) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'an evaluation is of a sealed version and never changes'); END;

CREATE TRIGGER evaluation_has_truth BEFORE INSERT ON evaluation
WHEN NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.truth_sha256 AND b.place = 'artifacts'
  AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'what an evaluation measured against is in the lake when it is recorded'); END;

CREATE TRIGGER evaluation_is_frozen BEFORE UPDATE ON evaluation
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;

CREATE TRIGGER evaluation_is_kept BEFORE DELETE ON evaluation
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;

CREATE TRIGGER sealed_version_is_frozen BEFORE UPDATE ON index_version
WHEN OLD.state IN ('sealed', 'revoked')
  AND (NEW.state IS NOT 'revoked'
    OR (NEW.version_sha256, NEW.sealed_at) IS NOT (OLD.version_sha256, OLD.sealed_at))
BEGIN SELECT RAISE(ABORT, 'a sealed version is frozen'); END;

CREATE TRIGGER index_version_is_frozen BEFORE UPDATE ON index_version
WHEN (NEW.id, NEW.name, NEW.number, NEW.trained_index_id, NEW.source_id, NEW.shards_per_output, NEW.missing_policy,
    NEW.bad_rows_policy, NEW.spec, NEW.spec_sha256, NEW.environment, NEW.created_at)
  IS NOT (OLD.id, OLD.name, OLD.number, OLD.trained_index_id, OLD.source_id, OLD.shards_per_output, OLD.missing_policy,
    OLD.bad_rows_policy, OLD.spec, OLD.spec_sha256, OLD.environment, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'what a version is made from is fixed when it is planned'); END;

CREATE TRIGGER index_version_is_sealed_whole BEFORE UPDATE ON index_version
WHEN (coalesce(NEW.state, '') IN ('sealed', 'revoked'))
  <> (NEW.version_sha256 IS NOT NULL AND NEW.sealed_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a sealed version has a digest and a time'); END;

CREATE TRIGGER version_input_is_bound_once BEFORE UPDATE ON version_input
WHEN OLD.revision IS NOT NULL OR OLD.is_hole IS NOT 0
  OR (SELECT state IN ('planned', 'building') FROM index_version WHERE id = OLD.version_id) IS NOT 1
  OR (NEW.version_id, NEW.ordinal, NEW.shard_id, NEW.output_ordinal, NEW.first_id, NEW.row_count)
    IS NOT (OLD.version_id, OLD.ordinal, OLD.shard_id, OLD.output_ordinal, OLD.first_id, OLD.row_count)
BEGIN SELECT RAISE(ABORT, 'an input of a version is bound once and never changed'); END;

CREATE TRIGGER lock_text_is_not_replaced BEFORE INSERT ON lock_text
WHEN EXISTS (SELECT 1 FROM lock_text l WHERE l.version_id = NEW.version_id)
  OR (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = NEW.version_id) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'the text of a lock is that of a sealed version and never changes'); END;

CREATE TRIGGER lock_text_is_frozen BEFORE UPDATE ON lock_text
BEGIN SELECT RAISE(ABORT, 'the text of a lock never changes'); END;

CREATE TRIGGER lock_text_is_kept BEFORE DELETE ON lock_text
BEGIN SELECT RAISE(ABORT, 'the text of a lock is kept'); END;

CREATE TRIGGER shard_total_is_not_replaced BEFORE INSERT ON shard_total
WHEN EXISTS (SELECT 1 FROM shard_total x WHERE x.source_id = NEW.source_id AND x.state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'there is a total of that source and state'); END;

CREATE TRIGGER shard_total_is_of_one_source BEFORE UPDATE ON shard_total
WHEN (NEW.source_id, NEW.state) IS NOT (OLD.source_id, OLD.state)
BEGIN SELECT RAISE(ABORT, 'a total stays about its source and state'); END;

CREATE TRIGGER shard_total_is_kept BEFORE DELETE ON shard_total
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = OLD.source_id)
BEGIN SELECT RAISE(ABORT, 'the totals of a source are kept'); END;

CREATE TRIGGER version_total_is_not_replaced BEFORE INSERT ON version_total
WHEN EXISTS (SELECT 1 FROM version_total x WHERE x.version_id = NEW.version_id)
BEGIN SELECT RAISE(ABORT, 'there is a total of that version'); END;

CREATE TRIGGER version_total_is_of_one_version BEFORE UPDATE ON version_total
WHEN NEW.version_id IS NOT OLD.version_id
BEGIN SELECT RAISE(ABORT, 'a total stays about its version'); END;

CREATE TRIGGER version_total_is_true BEFORE UPDATE ON version_total
WHEN (NEW.input_count, NEW.hole_count, NEW.row_count, NEW.planned_output_count, NEW.output_count, NEW.output_row_count,
    NEW.output_byte_count)
  IS NOT (OLD.input_count, OLD.hole_count, OLD.row_count, OLD.planned_output_count, OLD.output_count,
    OLD.output_row_count, OLD.output_byte_count)
  AND (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = OLD.version_id)
  AND ((NEW.input_count, NEW.hole_count, NEW.row_count, NEW.planned_output_count)
      IS NOT (SELECT count(*), coalesce(sum(i.is_hole), 0), coalesce(sum(i.row_count), 0),
        coalesce(max(i.output_ordinal) + 1, 0) FROM version_input i WHERE i.version_id = OLD.version_id)
    OR (NEW.output_count, NEW.output_row_count, NEW.output_byte_count)
      IS NOT (SELECT count(*), coalesce(sum(o.row_count), 0), coalesce(sum(o.byte_count), 0) FROM output_shard o
        WHERE o.version_id = OLD.version_id))
BEGIN SELECT RAISE(ABORT, 'the totals of a sealed version are what there is to count'); END;

CREATE TRIGGER version_total_is_kept BEFORE DELETE ON version_total
BEGIN SELECT RAISE(ABORT, 'the totals of a version are kept'); END;

CREATE TRIGGER stored_total_is_not_replaced BEFORE INSERT ON stored_total
WHEN EXISTS (SELECT 1 FROM stored_total x WHERE x.kind = NEW.kind)
BEGIN SELECT RAISE(ABORT, 'there is a total of that kind'); END;

CREATE TRIGGER stored_total_is_of_one_kind BEFORE UPDATE ON stored_total WHEN NEW.kind IS NOT OLD.kind
BEGIN SELECT RAISE(ABORT, 'a total stays about its kind'); END;

CREATE TRIGGER stored_total_is_kept BEFORE DELETE ON stored_total
BEGIN SELECT RAISE(ABORT, 'the total of a kind is kept'); END;

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

CREATE TRIGGER stored_total_begins AFTER INSERT ON purpose
BEGIN INSERT INTO stored_total (kind) VALUES (NEW.name); END;

CREATE TRIGGER stored_total_gains AFTER INSERT ON stored_bytes
BEGIN
  UPDATE stored_total SET file_count = file_count + 1, byte_count = byte_count + NEW.byte_count WHERE kind = NEW.kind;
END;

CREATE TRIGGER stored_total_moves AFTER UPDATE ON stored_bytes
WHEN (NEW.state = 'deleted') <> (OLD.state = 'deleted')
BEGIN
  UPDATE stored_total SET file_count = file_count + (OLD.state = 'deleted') - (NEW.state = 'deleted'),
    byte_count = byte_count + NEW.byte_count * ((OLD.state = 'deleted') - (NEW.state = 'deleted'))
  WHERE kind = NEW.kind;
END;

CREATE TRIGGER shard_name_is_usable BEFORE INSERT ON shard
WHEN (length(CAST(NEW.name AS BLOB)) BETWEEN 1 AND 200 AND instr(NEW.name, char(0)) = 0
  AND NEW.name NOT GLOB '[. -]*' AND NEW.name NOT GLOB '*[. ]' AND NEW.name NOT GLOB '*..*'
  AND NEW.name NOT GLOB '*.part' AND NEW.name NOT GLOB '*.resume' AND NEW.name NOT GLOB '*.tmp'
  AND NEW.name NOT GLOB '*.link' AND NEW.name NOT GLOB '*[/\' || char(1) || '-' || char(31) || char(127) || ']*'
  -- Beyond ASCII: what is not seen, or changes what is seen around it, and U+FFFD, as which SQLite reads noncharacters.
  AND CASE WHEN length(NEW.name) = length(CAST(NEW.name AS BLOB)) THEN 1 ELSE NEW.name NOT GLOB '*[' ||
    char(128) || '-' || char(159) || char(173) || char(847) || char(1564) ||
    char(4447) || '-' || char(4448) || char(6068) || '-' || char(6069) || char(6155) || '-' || char(6159) ||
    char(8203) || '-' || char(8207) || char(8232) || '-' || char(8238) || char(8288) || '-' || char(8303) ||
    char(12644) || char(65279) || char(65440) || char(65520) || '-' || char(65531) ||
    char(65533) || '-' || char(65535) || char(113824) || '-' || char(113827) ||
    char(119155) || '-' || char(119162) || char(917504) || '-' || char(921599) ||
    ']*' END) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'a shard has a name that a file can have and that can be seen'); END;

CREATE TRIGGER source_name_is_usable BEFORE INSERT ON source
WHEN (NEW.name NOT GLOB '*..*' AND instr(NEW.name, char(0)) = 0) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'a source has a name that paths can begin with'); END;

CREATE TRIGGER trained_index_is_what_was_planned BEFORE UPDATE ON trained_index
WHEN (NEW.id, NEW.method, NEW.codec, NEW.nlist, NEW.dimension, NEW.iterations, NEW.seed, NEW.pair_count,
    NEW.image_source_id, NEW.caption_source_id, NEW.spec, NEW.spec_sha256, NEW.created_at)
  IS NOT (OLD.id, OLD.method, OLD.codec, OLD.nlist, OLD.dimension, OLD.iterations, OLD.seed, OLD.pair_count,
    OLD.image_source_id, OLD.caption_source_id, OLD.spec, OLD.spec_sha256, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'what a trained index is made from never changes'); END;

CREATE TRIGGER trained_index_keeps_its_name BEFORE UPDATE ON trained_index
WHEN NEW.name IS NOT OLD.name
  AND (EXISTS (SELECT 1 FROM trained_index t WHERE t.name = NEW.name)
    OR EXISTS (SELECT 1 FROM index_version v WHERE v.trained_index_id = OLD.id AND v.state IN ('sealed', 'revoked')))
BEGIN SELECT RAISE(ABORT, 'a trained index keeps the name that a sealed version knows it by'); END;

CREATE TRIGGER trained_index_is_frozen BEFORE UPDATE ON trained_index
WHEN coalesce(NEW.state, '') NOT IN ('training', 'ready')
  OR (OLD.state IS NOT 'training'
    AND (NEW.state, NEW.sha256, NEW.ready_at) IS NOT (OLD.state, OLD.sha256, OLD.ready_at))
BEGIN SELECT RAISE(ABORT, 'a trained index never changes'); END;

CREATE TRIGGER trained_index_is_kept BEFORE DELETE ON trained_index
WHEN EXISTS (SELECT 1 FROM index_version v WHERE v.trained_index_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a trained index that a version was planned on is kept'); END;

CREATE TRIGGER trained_index_goes_whole AFTER DELETE ON trained_index
BEGIN
  DELETE FROM trained_input WHERE trained_index_id = OLD.id;
  DELETE FROM training_iteration WHERE trained_index_id = OLD.id;
  DELETE FROM router_epoch WHERE trained_index_id = OLD.id;
  DELETE FROM trained_router WHERE trained_index_id = OLD.id;
END;

CREATE TRIGGER trained_input_is_kept BEFORE DELETE ON trained_input
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the inputs of a trained index are kept'); END;

CREATE TRIGGER training_iteration_is_kept BEFORE DELETE ON training_iteration
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the iterations of a trained index are kept'); END;

CREATE TRIGGER router_epoch_is_kept BEFORE DELETE ON router_epoch
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the epochs of a trained index are kept'); END;

CREATE TRIGGER trained_router_is_kept BEFORE DELETE ON trained_router
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is kept'); END;

CREATE TRIGGER shard_begins_undropped BEFORE INSERT ON shard
WHEN NEW.dropped_row_count IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a shard is registered before it is dropped'); END;

CREATE TRIGGER shard_tombstone_has_its_length BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT OLD.dropped_row_count AND NEW.dropped_row_count IS NOT NULL
  AND (OLD.dropped_row_count IS NOT NULL OR NEW.dropped_row_count < 0
    OR (OLD.current_revision IS NOT NULL AND NEW.dropped_row_count IS NOT (SELECT r.row_count FROM shard_revision r
      WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision)))
BEGIN SELECT RAISE(ABORT, 'a dropped shard keeps its length'); END;

CREATE TRIGGER shard_that_is_needed_stays BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT NULL AND OLD.dropped_row_count IS NULL
  AND (EXISTS (SELECT 1 FROM trained_input i WHERE i.shard_id = OLD.id)
    OR EXISTS (SELECT 1 FROM version_input i JOIN index_version v ON v.id = i.version_id
      WHERE i.shard_id = OLD.id AND (v.state IN ('planned', 'building')
        OR (i.is_hole IS NOT 1 AND (v.state IS 'sealed'
          OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL))))))
BEGIN SELECT RAISE(ABORT, 'a shard on which something rests is not dropped'); END;

CREATE TRIGGER shard_tombstone_rests BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT NULL
  AND (NEW.state IS 'fetching' OR NEW.reserved_byte_count IS NOT NULL
    OR (NEW.state IS 'present' AND OLD.state IS NOT 'present')
    OR NEW.current_revision IS NOT OLD.current_revision)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is not fetched'); END;

CREATE TRIGGER version_input_is_not_dropped BEFORE INSERT ON version_input
WHEN NEW.is_hole IS NOT 1
  AND EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id AND h.dropped_row_count IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is no input of a version'); END;

CREATE TRIGGER trained_input_is_not_dropped BEFORE INSERT ON trained_input
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id AND h.dropped_row_count IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is no input of a trained index'); END;

CREATE TRIGGER version_keeps_its_published_name BEFORE UPDATE ON index_version
WHEN NEW.published_as IS NOT OLD.published_as
BEGIN SELECT RAISE(ABORT, 'a version keeps the name that it was published under'); END;

CREATE TRIGGER source_listing_is_frozen BEFORE UPDATE ON source_listing
BEGIN SELECT RAISE(ABORT, 'a listing that was used never changes'); END;

CREATE TRIGGER source_listing_is_not_replaced BEFORE INSERT ON source_listing
WHEN EXISTS (SELECT 1 FROM source_listing l WHERE l.source_id = NEW.source_id AND l.number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'a listing that was used never changes'); END;

CREATE TRIGGER command_run_is_not_replaced BEFORE INSERT ON command_run
WHEN EXISTS (SELECT 1 FROM command_run c WHERE c.transfer_id = NEW.transfer_id)
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;

CREATE TRIGGER command_run_is_frozen BEFORE UPDATE ON command_run
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;

CREATE TRIGGER command_input_is_not_replaced BEFORE INSERT ON command_input
WHEN EXISTS (SELECT 1 FROM command_input i WHERE i.transfer_id = NEW.transfer_id AND i.position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;

CREATE TRIGGER command_input_is_frozen BEFORE UPDATE ON command_input
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;

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

CREATE TRIGGER exclusion_list_is_frozen BEFORE UPDATE ON exclusion_list
BEGIN SELECT RAISE(ABORT, 'a list of excluded rows never changes; readmit rows with another one'); END;

CREATE TRIGGER exclusion_row_is_frozen BEFORE UPDATE ON exclusion_row
BEGIN SELECT RAISE(ABORT, 'a list of excluded rows never changes; readmit rows with another one'); END;

CREATE TRIGGER exclusion_list_is_kept BEFORE DELETE ON exclusion_list
BEGIN SELECT RAISE(ABORT, 'a list of excluded rows never changes; readmit rows with another one'); END;

CREATE TRIGGER exclusion_list_is_not_replaced BEFORE INSERT ON exclusion_list
WHEN EXISTS (SELECT 1 FROM exclusion_list l WHERE l.id = NEW.id OR (l.source_id = NEW.source_id AND l.number = NEW.number))
BEGIN SELECT RAISE(ABORT, 'a list of excluded rows never changes; readmit rows with another one'); END;

CREATE TRIGGER exclusion_row_is_kept BEFORE DELETE ON exclusion_row
BEGIN SELECT RAISE(ABORT, 'a list of excluded rows never changes; readmit rows with another one'); END;

CREATE TRIGGER exclusion_row_is_of_its_source BEFORE INSERT ON exclusion_row
WHEN NOT EXISTS (SELECT 1 FROM exclusion_list l JOIN source s ON s.id = l.source_id
    JOIN shard h ON h.source_id = coalesce(s.files_of, s.id) WHERE l.id = NEW.list_id AND h.id = NEW.shard_id)
  OR NEW.row >= (SELECT r.row_count FROM shard_revision r
    WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'an excluded row is one of its source'); END;

CREATE TRIGGER version_input_keeps_its_exclusions BEFORE UPDATE ON version_input
WHEN NEW.excluded_rows IS NOT OLD.excluded_rows
BEGIN SELECT RAISE(ABORT, 'the rows that a version leaves out are fixed when it is planned'); END;

CREATE TRIGGER companion_stands_beside_features BEFORE INSERT ON source
WHEN NEW.companion_of IS NOT NULL AND ((NEW.modality, NEW.dimension, NEW.dtype) IS NOT ('other', 1, 'uint8')
  OR NOT EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.companion_of AND s.companion_of IS NULL))
BEGIN SELECT RAISE(ABORT, 'a companion stands beside a source of features'); END;

CREATE TRIGGER companion_keeps_its_owner BEFORE UPDATE ON source
WHEN NEW.companion_of IS NOT OLD.companion_of
  OR (NEW.companion_of IS NOT NULL AND (NEW.modality, NEW.dimension, NEW.dtype) IS NOT ('other', 1, 'uint8'))
BEGIN SELECT RAISE(ABORT, 'a companion keeps the source beside which it stands'); END;

CREATE TRIGGER source_with_companions_is_kept BEFORE DELETE ON source
WHEN EXISTS (SELECT 1 FROM source s WHERE s.companion_of = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a source with companions is kept'); END;

CREATE TRIGGER trained_index_is_of_features BEFORE INSERT ON trained_index
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id IN (NEW.image_source_id, NEW.caption_source_id)
  AND s.companion_of IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'nothing is trained on a companion'); END;

CREATE TRIGGER index_version_is_of_features BEFORE INSERT ON index_version
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.source_id AND s.companion_of IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'nothing is built of a companion'); END;

CREATE TRIGGER version_companion_is_not_replaced BEFORE INSERT ON version_companion
WHEN EXISTS (SELECT 1 FROM version_companion c WHERE c.version_id = NEW.version_id AND c.shard_id = NEW.shard_id
  AND c.revision >= NEW.revision)
BEGIN SELECT RAISE(ABORT, 'a companion of a version never changes, but for a later revision'); END;

CREATE TRIGGER version_companion_is_aligned BEFORE INSERT ON version_companion
WHEN NOT EXISTS (SELECT 1 FROM shard h
  JOIN source s ON s.id = h.source_id AND s.companion_of IS NOT NULL
  JOIN shard o ON o.source_id = s.companion_of AND o.ordinal = h.ordinal
  JOIN version_input i ON i.version_id = NEW.version_id AND i.shard_id = o.id AND i.is_hole = 0
  JOIN index_version v ON v.id = i.version_id AND v.state IN ('sealed', 'revoked')
  JOIN shard_revision r ON r.shard_id = h.id AND r.revision = NEW.revision AND r.row_count = i.row_count
  WHERE h.id = NEW.shard_id)
BEGIN SELECT RAISE(ABORT, 'a companion of a version has the rows of its shard'); END;

CREATE TRIGGER version_companion_is_frozen BEFORE UPDATE ON version_companion
BEGIN SELECT RAISE(ABORT, 'a companion of a version never changes'); END;

CREATE TRIGGER version_companion_is_kept BEFORE DELETE ON version_companion
BEGIN SELECT RAISE(ABORT, 'a companion of a version is kept'); END;

CREATE TRIGGER output_shard_has_bytes_that_refine BEFORE INSERT ON output_shard
WHEN (NEW.refine_sha256 IS NULL) IS NOT (NEW.refine_byte_count IS NULL)
  OR (NEW.refine_sha256 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.refine_sha256
    AND b.place = 'artifacts' AND b.state = 'present' AND b.byte_count = NEW.refine_byte_count))
BEGIN SELECT RAISE(ABORT, 'the bytes that refine an output are in the lake when it is recorded'); END;

CREATE TRIGGER output_shards_refine_alike BEFORE INSERT ON output_shard
WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id
  AND (o.refine_sha256 IS NULL) IS NOT (NEW.refine_sha256 IS NULL))
BEGIN SELECT RAISE(ABORT, 'all outputs of a version are refined, or none'); END;

CREATE TRIGGER stored_bytes_that_refine_are_kept BEFORE UPDATE ON stored_bytes
WHEN NEW.state IS NOT 'present' AND OLD.place = 'artifacts'
  AND EXISTS (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
    WHERE o.refine_sha256 = OLD.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
BEGIN SELECT RAISE(ABORT, 'the bytes are in use'); END;

CREATE TRIGGER pin_has_bytes_that_refine BEFORE INSERT ON pin
WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id AND o.refine_sha256 IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = o.refine_sha256 AND b.place = 'artifacts'
    AND b.state = 'present'))
BEGIN SELECT RAISE(ABORT, 'only a version whose outputs are in the lake can be pinned'); END;

CREATE TRIGGER exclusion_rule_is_not_replaced BEFORE INSERT ON exclusion_rule
WHEN EXISTS (SELECT 1 FROM exclusion_rule r WHERE r.id = NEW.id OR (r.source_id = NEW.source_id AND r.number = NEW.number))
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_rule_is_frozen BEFORE UPDATE ON exclusion_rule
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_rule_is_kept BEFORE DELETE ON exclusion_rule
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_value_is_not_replaced BEFORE INSERT ON exclusion_value
WHEN EXISTS (SELECT 1 FROM exclusion_value v WHERE v.rule_id = NEW.rule_id AND v.sha256 = NEW.sha256)
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_value_is_frozen BEFORE UPDATE ON exclusion_value
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_value_is_kept BEFORE DELETE ON exclusion_value
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions never changes; readmit values with another one'); END;

CREATE TRIGGER exclusion_scan_is_not_replaced BEFORE INSERT ON exclusion_scan
WHEN EXISTS (SELECT 1 FROM exclusion_scan c WHERE c.rule_id = NEW.rule_id AND c.shard_id = NEW.shard_id
  AND c.revision = NEW.revision AND c.companion_shard_id = NEW.companion_shard_id
  AND c.companion_revision = NEW.companion_revision)
BEGIN SELECT RAISE(ABORT, 'what was held against a rule stays so'); END;

CREATE TRIGGER exclusion_scan_is_frozen BEFORE UPDATE ON exclusion_scan
BEGIN SELECT RAISE(ABORT, 'what was held against a rule stays so'); END;

CREATE TRIGGER exclusion_scan_is_kept BEFORE DELETE ON exclusion_scan
BEGIN SELECT RAISE(ABORT, 'what was held against a rule stays so'); END;

CREATE TRIGGER exclusion_list_is_of_its_rule BEFORE INSERT ON exclusion_list
WHEN NEW.rule_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM exclusion_rule r WHERE r.id = NEW.rule_id
  AND r.source_id = NEW.source_id AND r.kind = 'exclude' AND NEW.kind = 'exclude')
BEGIN SELECT RAISE(ABORT, 'a list has what a rule of its source found'); END;

CREATE TRIGGER exclusion_row_is_of_its_rule BEFORE INSERT ON exclusion_row
WHEN (NEW.value_sha256 IS NULL) <> EXISTS (SELECT 1 FROM exclusion_list l WHERE l.id = NEW.list_id AND l.rule_id IS NULL)
  OR (NEW.value_sha256 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM exclusion_list l
    JOIN exclusion_value v ON v.rule_id = l.rule_id AND v.sha256 = NEW.value_sha256 WHERE l.id = NEW.list_id))
BEGIN SELECT RAISE(ABORT, 'a row that a rule found has one of its values'); END;

CREATE TRIGGER pack_is_not_replaced BEFORE INSERT ON pack
WHEN EXISTS (SELECT 1 FROM pack p WHERE p.companion_sha256 = NEW.companion_sha256
  AND p.format_version = NEW.format_version AND p.columns = NEW.columns AND p.without_rows = NEW.without_rows)
BEGIN SELECT RAISE(ABORT, 'a pack never changes'); END;

CREATE TRIGGER pack_has_bytes BEFORE INSERT ON pack
WHEN NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts'
  AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'the bytes of a pack are in the lake when it is recorded'); END;

CREATE TRIGGER pack_is_frozen BEFORE UPDATE ON pack
BEGIN SELECT RAISE(ABORT, 'a pack never changes'); END;

CREATE TRIGGER pack_is_kept BEFORE DELETE ON pack
BEGIN SELECT RAISE(ABORT, 'a pack''s row is kept when its bytes go'); END;

CREATE TRIGGER exclusion_rule_is_of_a_companion BEFORE INSERT ON exclusion_rule
WHEN NOT EXISTS (SELECT 1 FROM source c JOIN source s ON s.id = NEW.source_id
  WHERE c.id = NEW.companion_id AND c.companion_of = coalesce(s.files_of, s.id))
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions is about a companion of its source'); END;

CREATE TRIGGER shard_total_moves AFTER UPDATE ON shard
WHEN (NEW.state, NEW.current_revision, NEW.expected_byte_count, NEW.reserved_byte_count)
  IS NOT (OLD.state, OLD.current_revision, OLD.expected_byte_count, OLD.reserved_byte_count)
BEGIN
  UPDATE shard_total SET shard_count = shard_count - 1, row_count = row_count - coalesce(x.rows, 0),
    byte_count = byte_count - coalesce(x.bytes, 0),
    known_byte_count = known_byte_count - coalesce(x.bytes, OLD.expected_byte_count,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = OLD.id AND l.state = 'present'), 0),
    reserved_byte_count = reserved_byte_count - coalesce(OLD.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision) AS x
  WHERE source_id = OLD.source_id AND state = OLD.state;
  UPDATE shard_total SET shard_count = shard_count + 1, row_count = row_count + coalesce(x.rows, 0),
    byte_count = byte_count + coalesce(x.bytes, 0),
    known_byte_count = known_byte_count + coalesce(x.bytes, NEW.expected_byte_count,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = NEW.id AND l.state = 'present'), 0),
    reserved_byte_count = reserved_byte_count + coalesce(NEW.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision) AS x
  WHERE source_id = NEW.source_id AND state = NEW.state;
END;

CREATE TRIGGER shard_location_is_not_replaced BEFORE INSERT ON shard_location
WHEN EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = NEW.shard_id AND l.mirror_id = NEW.mirror_id)
BEGIN SELECT RAISE(ABORT, 'what is known of a shard on a mirror is there already'); END;

CREATE TRIGGER shard_total_gains_location AFTER INSERT ON shard_location
WHEN NEW.state = 'present' AND NEW.byte_count IS NOT NULL
BEGIN
  UPDATE shard_total SET known_byte_count = known_byte_count + coalesce(x.now, 0) - coalesce(x.before, 0)
  FROM (SELECT h.source_id AS source, h.state AS state,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') AS now,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present' AND l.mirror_id <> NEW.mirror_id) AS before
    FROM shard h WHERE h.id = NEW.shard_id AND h.current_revision IS NULL AND h.expected_byte_count IS NULL) AS x
  WHERE source_id = x.source AND shard_total.state = x.state;
END;

CREATE TRIGGER shard_total_loses_location AFTER DELETE ON shard_location
WHEN OLD.state = 'present' AND OLD.byte_count IS NOT NULL
BEGIN
  UPDATE shard_total SET known_byte_count = known_byte_count + coalesce(x.now, 0) - coalesce(x.before, 0)
  FROM (SELECT h.source_id AS source, h.state AS state,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') AS now,
      (SELECT CASE WHEN min(o.bytes) = max(o.bytes) AND max(o.bytes) <= 549755813888 THEN max(o.bytes) END
        FROM (SELECT OLD.byte_count AS bytes UNION ALL
          SELECT l.byte_count FROM shard_location l WHERE l.shard_id = OLD.shard_id AND l.state = 'present') o) AS before
    FROM shard h WHERE h.id = OLD.shard_id AND h.current_revision IS NULL AND h.expected_byte_count IS NULL) AS x
  WHERE source_id = x.source AND shard_total.state = x.state;
END;

CREATE TRIGGER shard_total_learns_of_location AFTER UPDATE ON shard_location
WHEN (NEW.state = 'present', NEW.byte_count) IS NOT (OLD.state = 'present', OLD.byte_count)
BEGIN
  UPDATE shard_total SET known_byte_count = known_byte_count + coalesce(x.now, 0) - coalesce(x.before, 0)
  FROM (SELECT h.source_id AS source, h.state AS state,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') AS now,
      (SELECT CASE WHEN min(o.bytes) = max(o.bytes) AND max(o.bytes) <= 549755813888 THEN max(o.bytes) END
        FROM (SELECT CASE WHEN OLD.state = 'present' THEN OLD.byte_count END AS bytes UNION ALL
          SELECT l.byte_count FROM shard_location l WHERE l.shard_id = OLD.shard_id AND l.state = 'present'
            AND l.mirror_id <> OLD.mirror_id) o) AS before
    FROM shard h WHERE h.id = OLD.shard_id AND h.current_revision IS NULL AND h.expected_byte_count IS NULL) AS x
  WHERE source_id = x.source AND shard_total.state = x.state;
END;
