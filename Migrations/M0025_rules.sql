-- Rules of exclusions: rows go whose companion has one of some values in a column, now and in
-- bytes that come later (Catalog.md, Exclusions). And packs that were made without rows.

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

-- A value of a rule, as the SHA-256 of its text: what must go is not kept here either.
CREATE TABLE exclusion_value (
  rule_id INTEGER NOT NULL REFERENCES exclusion_rule (id),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  PRIMARY KEY (rule_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX exclusion_value_by_digest ON exclusion_value (sha256);

-- That the rows of a shard's bytes were held against a rule, by what bytes of the companion:
-- what it found is on lists, and is not looked for again.
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

-- The rule that found the rows of a list, and the SHA-256 of the value that it found at each;
-- null where rows were named.
ALTER TABLE exclusion_list ADD COLUMN rule_id INTEGER REFERENCES exclusion_rule (id);
CREATE INDEX exclusion_list_by_rule ON exclusion_list (rule_id);
ALTER TABLE exclusion_row ADD COLUMN value_sha256 TEXT
CHECK (value_sha256 IS NULL OR (length(value_sha256) = 64 AND value_sha256 NOT GLOB '*[^0-9a-f]*'));

CREATE TRIGGER exclusion_rule_is_of_a_companion BEFORE INSERT ON exclusion_rule
WHEN NOT EXISTS (SELECT 1 FROM source c WHERE c.id = NEW.companion_id AND c.companion_of = NEW.source_id)
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions is about a companion of its source'); END;
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

-- A pack may be made without what it would say of some rows, ascending, as JSON; empty for none.
CREATE TABLE pack_made (
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
INSERT INTO pack_made (companion_sha256, format_version, columns, without_rows, sha256, row_count, created_at)
SELECT companion_sha256, format_version, columns, '', sha256, row_count, created_at FROM pack;
DROP TABLE pack;
ALTER TABLE pack_made RENAME TO pack;
CREATE INDEX pack_by_digest ON pack (sha256);

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
