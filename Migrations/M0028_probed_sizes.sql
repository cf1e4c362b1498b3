-- What mirrors say of a shard's size is known, too: `known_byte_count` counts it where neither
-- bytes that were seen nor a listing give one. It counts as in Swift (`probed_byte_count`): of
-- those that have the shard all say the same. A size above 512 GiB is nobody's shard, and the
-- sum of ten million of those below is a whole number.

DROP TRIGGER shard_total_moves;
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

UPDATE shard_total SET known_byte_count = coalesce((
  SELECT sum(coalesce(r.byte_count, h.expected_byte_count, (
    SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888 THEN max(l.byte_count) END
    FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present')))
  FROM shard h LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
  WHERE h.source_id = shard_total.source_id AND h.state = shard_total.state), 0)
WHERE EXISTS (SELECT 1 FROM shard_location l WHERE l.byte_count IS NOT NULL);
