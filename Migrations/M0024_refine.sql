-- Codes that refine: beside each output of a version whose trained index says so, a file with a
-- better code of every id, by which the best of what is found are ordered again.

INSERT INTO purpose VALUES ('refine-shard', 'artifacts');

-- The file beside the output; null where the trained index does not refine.
ALTER TABLE output_shard ADD COLUMN refine_sha256 TEXT
CHECK (refine_sha256 IS NULL OR (length(refine_sha256) = 64 AND refine_sha256 NOT GLOB '*[^0-9a-f]*'));
ALTER TABLE output_shard ADD COLUMN refine_byte_count INTEGER
CHECK (refine_byte_count IS NULL OR refine_byte_count > 0);
CREATE INDEX output_shard_by_refine ON output_shard (refine_sha256);

CREATE TRIGGER output_shard_has_bytes_that_refine BEFORE INSERT ON output_shard
WHEN (NEW.refine_sha256 IS NULL) IS NOT (NEW.refine_byte_count IS NULL)
  OR (NEW.refine_sha256 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM stored_bytes b WHERE b.sha256 = NEW.refine_sha256
    AND b.place = 'artifacts' AND b.state = 'present' AND b.byte_count = NEW.refine_byte_count))
BEGIN SELECT RAISE(ABORT, 'the bytes that refine an output are in the lake when it is recorded'); END;
CREATE TRIGGER output_shards_refine_alike BEFORE INSERT ON output_shard
WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id
  AND (o.refine_sha256 IS NULL) IS NOT (NEW.refine_sha256 IS NULL))
BEGIN SELECT RAISE(ABORT, 'all outputs of a version are refined, or none'); END;
-- Invariant 4, as of outputs.
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
