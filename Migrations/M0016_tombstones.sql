-- Tombstones: a shard that was dropped keeps its ordinal and the ids of its rows. Its
-- length is fixed while it is dropped, nothing is fetched or made of it, and nothing
-- that rests on its bytes is left behind (Catalog.md, Tombstones).

-- Rows that the ids of a dropped shard stand for; null in a shard that is not dropped.
ALTER TABLE shard ADD COLUMN dropped_row_count INTEGER CHECK (dropped_row_count >= 0);
-- The state as v_shard has it.
CREATE INDEX shard_by_shown_state
ON shard ((CASE WHEN dropped_row_count IS NULL THEN state ELSE 'dropped' END), source_id, state);

CREATE TRIGGER shard_begins_undropped BEFORE INSERT ON shard
WHEN NEW.dropped_row_count IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a shard is registered before it is dropped'); END;

-- Of known length: what was observed, where it was.
CREATE TRIGGER shard_tombstone_has_its_length BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT OLD.dropped_row_count AND NEW.dropped_row_count IS NOT NULL
  AND (OLD.dropped_row_count IS NOT NULL OR NEW.dropped_row_count < 0
    OR (OLD.current_revision IS NOT NULL AND NEW.dropped_row_count IS NOT (SELECT r.row_count FROM shard_revision r
      WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision)))
BEGIN SELECT RAISE(ABORT, 'a dropped shard keeps its length'); END;

-- What rests on its bytes: live and pinned versions, trained indexes, and every version in work.
CREATE TRIGGER shard_that_is_needed_stays BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT NULL AND OLD.dropped_row_count IS NULL
  AND (EXISTS (SELECT 1 FROM trained_input i WHERE i.shard_id = OLD.id)
    OR EXISTS (SELECT 1 FROM version_input i JOIN index_version v ON v.id = i.version_id
      WHERE i.shard_id = OLD.id AND (v.state IN ('planned', 'building')
        OR (i.is_hole IS NOT 1 AND (v.state IS 'sealed'
          OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL))))))
BEGIN SELECT RAISE(ABORT, 'a shard on which something rests is not dropped'); END;

-- It is not fetched, and no other bytes become its own; those that it has may go.
CREATE TRIGGER shard_tombstone_rests BEFORE UPDATE ON shard
WHEN NEW.dropped_row_count IS NOT NULL
  AND (NEW.state IS 'fetching' OR NEW.reserved_byte_count IS NOT NULL
    OR (NEW.state IS 'present' AND OLD.state IS NOT 'present')
    OR NEW.current_revision IS NOT OLD.current_revision)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is not fetched'); END;

-- Nothing is planned on it but the hole that an earlier version had there.
CREATE TRIGGER version_input_is_not_dropped BEFORE INSERT ON version_input
WHEN NEW.is_hole IS NOT 1
  AND EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id AND h.dropped_row_count IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is no input of a version'); END;
CREATE TRIGGER trained_input_is_not_dropped BEFORE INSERT ON trained_input
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id AND h.dropped_row_count IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a dropped shard is no input of a trained index'); END;

-- Bytes that a worker elsewhere saw and no manifest vouches for: their digest is in its
-- receipt, and what it made of them was read back here.
INSERT INTO trust VALUES ('worker');
