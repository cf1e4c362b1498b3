-- Rows that must not be found: lists of a source's rows that are only ever added to, and
-- for each version the rows that were left out of it (Catalog.md, Exclusions).

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
  created_at TEXT NOT NULL,
  UNIQUE (source_id, number)
) STRICT;

-- A row of the bytes that a shard had; those of another revision are other rows.
CREATE TABLE exclusion_row (
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  row INTEGER NOT NULL CHECK (row >= 0),
  list_id INTEGER NOT NULL REFERENCES exclusion_list (id),
  PRIMARY KEY (shard_id, revision, row, list_id),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX exclusion_row_by_list ON exclusion_row (list_id);

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

-- Rows of the input that the version does not have, ascending, as JSON; null for none.
ALTER TABLE version_input ADD COLUMN excluded_rows TEXT
CHECK (excluded_rows IS NULL OR (excluded_rows GLOB '[[][0-9]*]' AND is_hole = 0));

CREATE TRIGGER version_input_keeps_its_exclusions BEFORE UPDATE ON version_input
WHEN NEW.excluded_rows IS NOT OLD.excluded_rows
BEGIN SELECT RAISE(ABORT, 'the rows that a version leaves out are fixed when it is planned'); END;
