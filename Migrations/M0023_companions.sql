-- Companions: sources whose shards have the ordinals and rows of another source's, and say
-- what is known of each row. They are no features: nothing is trained or built of them.
-- docs/COMPANIONS.md.

-- The source beside whose rows it stands; null for a source of features. Such a source has
-- the dimension 1 and the dtype uint8, which mean nothing.
ALTER TABLE source ADD COLUMN companion_of INTEGER REFERENCES source (id);
CREATE INDEX source_by_companion ON source (companion_of);

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

-- Which bytes of a companion's shard say what the rows of a version are: of a version's
-- shard and a companion the greatest revision counts. Bound when both are there and have as
-- many rows, before or after the version is sealed; no lock file and no digest has it.
CREATE TABLE version_companion (
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  bound_at TEXT NOT NULL,
  PRIMARY KEY (version_id, shard_id, revision),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_companion_by_revision ON version_companion (shard_id, revision);

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

-- A companion shard's rows, packed so that single ones are found. The key is what follows
-- from: the companion's bytes, the format, and the columns that were asked for.
INSERT INTO purpose VALUES ('pack', 'artifacts');
CREATE TABLE pack (
  companion_sha256 TEXT NOT NULL CHECK (length(companion_sha256) = 64),
  format_version INTEGER NOT NULL CHECK (format_version >= 1),
  -- as a JSON array in the order of names; empty for all that can be read
  columns TEXT NOT NULL CHECK (columns = '' OR columns GLOB '[[]*]'),
  sha256 TEXT NOT NULL,
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  created_at TEXT NOT NULL,
  place TEXT NOT NULL GENERATED ALWAYS AS ('artifacts') VIRTUAL,
  PRIMARY KEY (companion_sha256, format_version, columns),
  FOREIGN KEY (sha256, place) REFERENCES stored_bytes (sha256, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX pack_by_digest ON pack (sha256);

CREATE TRIGGER pack_is_not_replaced BEFORE INSERT ON pack
WHEN EXISTS (SELECT 1 FROM pack p WHERE p.companion_sha256 = NEW.companion_sha256
  AND p.format_version = NEW.format_version AND p.columns = NEW.columns)
BEGIN SELECT RAISE(ABORT, 'a pack never changes'); END;
CREATE TRIGGER pack_has_bytes BEFORE INSERT ON pack
WHEN NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts'
  AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'the bytes of a pack are in the lake when it is recorded'); END;
CREATE TRIGGER pack_is_frozen BEFORE UPDATE ON pack
BEGIN SELECT RAISE(ABORT, 'a pack never changes'); END;
CREATE TRIGGER pack_is_kept BEFORE DELETE ON pack
BEGIN SELECT RAISE(ABORT, 'a pack''s row is kept when its bytes go'); END;
