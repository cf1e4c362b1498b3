-- What happened to the lake (event), what must be kept (pin), what may go
-- (v_garbage), and the guards that hold for every connection.
--
-- A plain SQLite connection checks no foreign keys and fires no delete trigger
-- for REPLACE (recursive_triggers is off), so these guards rely on neither:
-- an insert that would replace a kept row is refused as an insert, and columns
-- that identify a kept row never change, which leaves UPDATE OR REPLACE
-- nothing to collide with.

ALTER TABLE shard ADD COLUMN verified_at TEXT;
CREATE INDEX shard_by_verification ON shard (verified_at) WHERE state = 'present';

-- When its removal was decided; the bytes go right after.
ALTER TABLE artifact ADD COLUMN deleting_at TEXT;
CREATE INDEX artifact_by_state ON artifact (state, kind);

-- When it was revoked or abandoned: the grace period of its bytes begins.
ALTER TABLE index_version ADD COLUMN ended_at TEXT;

-- A version whose outputs are kept whatever becomes of it.
CREATE TABLE pin (
  id INTEGER PRIMARY KEY,
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  reason TEXT NOT NULL,
  created_at TEXT NOT NULL,
  removed_at TEXT
) STRICT;
CREATE UNIQUE INDEX pin_in_force ON pin (version_id) WHERE removed_at IS NULL;
CREATE INDEX pin_by_version ON pin (version_id);

-- The history, each event chained to the one before it. hash is the SHA-256 of
-- seq, at, actor, verb, subject, detail and prev, each followed by a line feed;
-- prev is the hash before, 64 zeros for the first.
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

CREATE TRIGGER event_is_appended BEFORE INSERT ON event
WHEN NEW.seq IS NOT (SELECT coalesce(max(e.seq), 0) + 1 FROM event e)
  OR NEW.prev IS NOT coalesce((SELECT e.hash FROM event e ORDER BY e.seq DESC LIMIT 1), printf('%064d', 0))
  OR EXISTS (SELECT 1 FROM event e WHERE e.hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'an event is appended to the chain'); END;
CREATE TRIGGER event_is_frozen BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'an event never changes'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'an event is kept'); END;

-- The lake: its directories may move, nothing else.
CREATE TRIGGER lake_is_one BEFORE INSERT ON lake WHEN EXISTS (SELECT 1 FROM lake)
BEGIN SELECT RAISE(ABORT, 'a catalog is of one lake'); END;
CREATE TRIGGER lake_is_frozen BEFORE UPDATE ON lake
WHEN (NEW.id, NEW.uuid, NEW.created_at) IS NOT (OLD.id, OLD.uuid, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'the identity of a lake never changes'); END;
CREATE TRIGGER lake_is_kept BEFORE DELETE ON lake
BEGIN SELECT RAISE(ABORT, 'the identity of a lake is kept'); END;

-- Sources, mirrors and shards: what revisions and row ids rest on.
CREATE TRIGGER source_is_not_replaced BEFORE INSERT ON source
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.id OR s.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a source of that name or number'); END;
CREATE TRIGGER source_is_frozen BEFORE UPDATE ON source
WHEN NEW.id <> OLD.id
  OR (NEW.name <> OLD.name AND EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name))
  OR ((NEW.name, NEW.modality, NEW.dimension, NEW.dtype) <> (OLD.name, OLD.modality, OLD.dimension, OLD.dtype)
    AND EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id AND h.current_revision IS NOT NULL))
BEGIN SELECT RAISE(ABORT, 'a source never changes once its shards were observed'); END;
CREATE TRIGGER source_is_kept BEFORE DELETE ON source
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a source with shards is kept'); END;

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

CREATE TRIGGER shard_is_not_replaced BEFORE INSERT ON shard
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.id)
  OR EXISTS (SELECT 1 FROM shard h WHERE h.source_id = NEW.source_id AND h.ordinal = NEW.ordinal)
  OR EXISTS (SELECT 1 FROM shard h WHERE h.source_id = NEW.source_id AND h.name = NEW.name)
  OR EXISTS (SELECT 1 FROM shard h WHERE h.path = NEW.path)
BEGIN SELECT RAISE(ABORT, 'there is a shard of that number, place, name or path'); END;
CREATE TRIGGER shard_identity_is_frozen BEFORE UPDATE OF id, source_id, ordinal, name ON shard
WHEN (NEW.id, NEW.source_id, NEW.ordinal, NEW.name) <> (OLD.id, OLD.source_id, OLD.ordinal, OLD.name)
BEGIN SELECT RAISE(ABORT, 'a shard keeps its place and name'); END;
CREATE TRIGGER shard_path_is_its_own BEFORE UPDATE OF path ON shard
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.path = NEW.path AND h.id <> OLD.id)
BEGIN SELECT RAISE(ABORT, 'the path belongs to another shard'); END;
CREATE TRIGGER shard_revision_is_known BEFORE UPDATE OF current_revision ON shard
WHEN (NEW.current_revision IS NULL AND OLD.current_revision IS NOT NULL)
  OR (NEW.current_revision IS NOT NULL AND NOT EXISTS (SELECT 1 FROM shard_revision r
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision))
BEGIN SELECT RAISE(ABORT, 'a shard has a revision that was observed'); END;
CREATE TRIGGER shard_moves BEFORE UPDATE OF state ON shard
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
  WHEN 'fetching' THEN NEW.state IN ('present', 'registered', 'evicted', 'absent', 'failed')
  WHEN 'present' THEN NEW.state = 'evicting'
  WHEN 'evicting' THEN NEW.state = 'evicted'
  ELSE NEW.state IN ('fetching', 'present') END
BEGIN SELECT RAISE(ABORT, 'a shard cannot go from the one state to the other'); END;
CREATE TRIGGER shard_is_kept BEFORE DELETE ON shard
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = OLD.id)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.shard_id = OLD.id)
  OR EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a shard that something refers to is kept'); END;

DROP TRIGGER shard_revision_is_not_replaced;
CREATE TRIGGER shard_revision_is_not_replaced BEFORE INSERT ON shard_revision
WHEN EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = NEW.shard_id
  AND (r.revision = NEW.revision OR r.sha256 = NEW.sha256))
BEGIN SELECT RAISE(ABORT, 'a shard revision never changes'); END;

-- Versions.
CREATE TRIGGER index_version_is_planned_first BEFORE INSERT ON index_version
WHEN NEW.state <> 'planned'
  OR EXISTS (SELECT 1 FROM index_version v WHERE v.id = NEW.id
    OR (v.name = NEW.name AND (v.number = NEW.number
      OR (v.spec_sha256 = NEW.spec_sha256 AND v.state IN ('planned', 'building')))))
  OR (SELECT t.state FROM trained_index t WHERE t.id = NEW.trained_index_id) IS NOT 'ready'
BEGIN SELECT RAISE(ABORT, 'a version begins as planned, under a number of its own, on a ready trained index'); END;
CREATE TRIGGER index_version_is_frozen BEFORE UPDATE ON index_version
WHEN (NEW.id, NEW.name, NEW.number, NEW.trained_index_id, NEW.source_id, NEW.shards_per_output, NEW.missing_policy,
    NEW.bad_rows_policy, NEW.spec, NEW.spec_sha256, NEW.environment, NEW.created_at)
  <> (OLD.id, OLD.name, OLD.number, OLD.trained_index_id, OLD.source_id, OLD.shards_per_output, OLD.missing_policy,
    OLD.bad_rows_policy, OLD.spec, OLD.spec_sha256, OLD.environment, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'what a version is made from is fixed when it is planned'); END;
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

DROP TRIGGER version_input_is_planned;
CREATE TRIGGER version_input_is_planned BEFORE INSERT ON version_input
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) IS NOT 'planned'
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.version_id AND i.ordinal = NEW.ordinal)
  OR EXISTS (SELECT 1 FROM version_input i WHERE i.version_id = NEW.version_id AND i.shard_id = NEW.shard_id)
  OR NOT EXISTS (SELECT 1 FROM shard h WHERE h.id = NEW.shard_id)
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;
DROP TRIGGER version_input_keeps_its_length;
CREATE TRIGGER version_input_keeps_its_length BEFORE UPDATE OF revision ON version_input
WHEN NEW.revision IS NOT NULL AND NEW.row_count IS NOT (SELECT r.row_count FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the revision has another number of rows than the plan'); END;
CREATE TRIGGER version_input_has_its_length BEFORE INSERT ON version_input
WHEN NEW.revision IS NOT NULL AND NEW.row_count IS NOT (SELECT r.row_count FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the revision has another number of rows than the plan'); END;
DROP TRIGGER version_input_is_kept;
CREATE TRIGGER version_input_is_kept BEFORE DELETE ON version_input
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) IS NOT 'planned'
BEGIN SELECT RAISE(ABORT, 'the inputs of a version are fixed when it is planned'); END;

-- No reference to bytes that are going or gone, or of another kind.
DROP TRIGGER output_shard_while_building;
CREATE TRIGGER output_shard_while_building BEFORE INSERT ON output_shard
WHEN (SELECT state FROM index_version WHERE id = NEW.version_id) IS NOT 'building'
BEGIN SELECT RAISE(ABORT, 'output shards are recorded only while a version is building'); END;
CREATE TRIGGER output_shard_is_not_replaced BEFORE INSERT ON output_shard
WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id AND o.ordinal = NEW.ordinal)
BEGIN SELECT RAISE(ABORT, 'an output shard never changes'); END;
CREATE TRIGGER output_shard_has_bytes BEFORE INSERT ON output_shard
WHEN NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.sha256 AND a.state = 'present'
  AND a.kind = 'output-shard' AND a.byte_count = NEW.byte_count)
BEGIN SELECT RAISE(ABORT, 'the bytes of an output shard are in the lake when it is recorded'); END;
DROP TRIGGER output_shard_is_kept;
CREATE TRIGGER output_shard_is_kept BEFORE DELETE ON output_shard
WHEN (SELECT state FROM index_version WHERE id = OLD.version_id) IS NOT 'building'
BEGIN SELECT RAISE(ABORT, 'the outputs of a sealed version are kept'); END;

CREATE TRIGGER trained_index_is_not_replaced BEFORE INSERT ON trained_index
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = NEW.id OR t.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a trained index of that name or number'); END;
CREATE TRIGGER trained_index_begins_in_training BEFORE INSERT ON trained_index WHEN NEW.state <> 'training'
BEGIN SELECT RAISE(ABORT, 'a trained index begins in training'); END;
CREATE TRIGGER trained_index_is_what_was_planned BEFORE UPDATE ON trained_index
WHEN (NEW.id, NEW.name, NEW.method, NEW.codec, NEW.nlist, NEW.dimension, NEW.iterations, NEW.seed, NEW.pair_count,
    NEW.image_source_id, NEW.caption_source_id, NEW.spec, NEW.spec_sha256, NEW.created_at)
  IS NOT (OLD.id, OLD.name, OLD.method, OLD.codec, OLD.nlist, OLD.dimension, OLD.iterations, OLD.seed, OLD.pair_count,
    OLD.image_source_id, OLD.caption_source_id, OLD.spec, OLD.spec_sha256, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'what a trained index is made from never changes'); END;
CREATE TRIGGER trained_index_has_bytes BEFORE UPDATE ON trained_index
WHEN NEW.sha256 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.sha256
  AND a.state = 'present' AND a.kind = 'trained-index')
BEGIN SELECT RAISE(ABORT, 'the bytes of a trained index are in the lake when it is ready'); END;
CREATE TRIGGER trained_index_goes_last BEFORE DELETE ON trained_index
WHEN EXISTS (SELECT 1 FROM trained_input i WHERE i.trained_index_id = OLD.id)
  OR EXISTS (SELECT 1 FROM training_iteration i WHERE i.trained_index_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a trained index goes after its inputs and iterations'); END;

CREATE TRIGGER trained_input_while_training BEFORE INSERT ON trained_input
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
  OR NOT EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the inputs of a trained index are fixed when it is planned'); END;
CREATE TRIGGER trained_input_is_frozen BEFORE UPDATE ON trained_input
BEGIN SELECT RAISE(ABORT, 'an input of a trained index never changes'); END;
CREATE TRIGGER trained_input_is_kept BEFORE DELETE ON trained_input
WHEN (SELECT state FROM trained_index WHERE id = OLD.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'the inputs of a trained index are kept'); END;

CREATE TRIGGER training_iteration_while_training BEFORE INSERT ON training_iteration
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'iterations are recorded only while a trained index is in training'); END;
CREATE TRIGGER training_iteration_is_frozen BEFORE UPDATE ON training_iteration
BEGIN SELECT RAISE(ABORT, 'a recorded iteration never changes'); END;
CREATE TRIGGER training_iteration_is_kept BEFORE DELETE ON training_iteration
WHEN (SELECT state FROM trained_index WHERE id = OLD.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'the iterations of a trained index are kept'); END;

CREATE TRIGGER nearest_images_are_not_replaced BEFORE INSERT ON nearest_images
WHEN EXISTS (SELECT 1 FROM nearest_images n WHERE n.inputs_sha256 = NEW.inputs_sha256)
BEGIN SELECT RAISE(ABORT, 'recorded nearest images never change'); END;
CREATE TRIGGER nearest_images_have_bytes BEFORE INSERT ON nearest_images
WHEN NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.sha256 AND a.state = 'present'
  AND a.kind = 'nearest-images')
BEGIN SELECT RAISE(ABORT, 'the bytes of nearest images are in the lake when they are recorded'); END;
CREATE TRIGGER nearest_images_are_frozen BEFORE UPDATE ON nearest_images
BEGIN SELECT RAISE(ABORT, 'recorded nearest images never change'); END;
CREATE TRIGGER nearest_images_are_kept BEFORE DELETE ON nearest_images
BEGIN SELECT RAISE(ABORT, 'recorded nearest images are kept'); END;

CREATE TRIGGER segment_is_not_replaced BEFORE INSERT ON segment
WHEN EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
  AND g.format_version = NEW.format_version)
BEGIN SELECT RAISE(ABORT, 'a segment never changes'); END;
CREATE TRIGGER segment_has_bytes BEFORE INSERT ON segment
WHEN NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.sha256 AND a.state = 'present' AND a.kind = 'segment')
  OR NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.trained_sha256 AND a.state = 'present'
    AND a.kind = 'trained-index')
BEGIN SELECT RAISE(ABORT, 'the bytes of a segment are in the lake when it is recorded'); END;
CREATE TRIGGER segment_is_frozen BEFORE UPDATE ON segment
BEGIN SELECT RAISE(ABORT, 'a segment never changes'); END;
CREATE TRIGGER segment_is_kept BEFORE DELETE ON segment
BEGIN SELECT RAISE(ABORT, 'a segment''s row is kept when its bytes go'); END;

CREATE TRIGGER artifact_is_not_replaced BEFORE INSERT ON artifact
WHEN NEW.state <> 'present' OR EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = NEW.sha256)
  OR EXISTS (SELECT 1 FROM artifact a WHERE a.path = NEW.path)
BEGIN SELECT RAISE(ABORT, 'an artifact never changes'); END;
CREATE TRIGGER artifact_is_frozen BEFORE UPDATE ON artifact
WHEN (NEW.sha256, NEW.kind, NEW.byte_count, NEW.path, NEW.created_at)
  <> (OLD.sha256, OLD.kind, OLD.byte_count, OLD.path, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'an artifact never changes'); END;
CREATE TRIGGER artifact_moves BEFORE UPDATE ON artifact
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'present' THEN NEW.state = 'deleting' AND NEW.deleting_at IS NOT NULL
    WHEN 'deleting' THEN NEW.state IN ('deleted', 'present')
    ELSE NEW.state = 'present' END)
BEGIN SELECT RAISE(ABORT, 'an artifact cannot go from the one state to the other'); END;
DROP TRIGGER artifact_in_use_is_kept;
CREATE TRIGGER artifact_in_use_is_kept BEFORE UPDATE OF state ON artifact
WHEN NEW.state <> 'present' AND (
  EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = OLD.sha256)
  OR EXISTS (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
    WHERE o.sha256 = OLD.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL))))
BEGIN SELECT RAISE(ABORT, 'the artifact is in use'); END;

CREATE TRIGGER pin_is_not_replaced BEFORE INSERT ON pin
WHEN NEW.removed_at IS NOT NULL OR EXISTS (SELECT 1 FROM pin p WHERE p.id = NEW.id
  OR (p.version_id = NEW.version_id AND p.removed_at IS NULL))
BEGIN SELECT RAISE(ABORT, 'a version is pinned once'); END;
CREATE TRIGGER pin_has_bytes BEFORE INSERT ON pin
WHEN (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = NEW.version_id) IS NOT 1
  OR EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = NEW.version_id
    AND NOT EXISTS (SELECT 1 FROM artifact a WHERE a.sha256 = o.sha256 AND a.state = 'present'))
BEGIN SELECT RAISE(ABORT, 'only a version whose outputs are in the lake can be pinned'); END;
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

CREATE VIEW v_event AS SELECT
  e.seq AS seq, -- place in the history, from 1
  e.at AS at, -- when
  e.actor AS actor, -- who: user and host
  e.verb AS verb, -- what: source-add, fetched, trained, planned, output, sealed, revoked, …
  e.subject AS subject, -- to what: a source, SOURCE/SHARD, trained index, NAME@N or file
  e.detail AS detail, -- more of it, as JSON
  e.prev AS prev, -- hash of the event before, 64 zeros for the first
  e.hash AS hash -- SHA-256 of the lines seq, at, actor, verb, subject, detail, prev
FROM event e;

CREATE VIEW v_pin AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  p.reason AS reason, -- why
  p.created_at AS pinned_at, -- since when
  p.removed_at AS unpinned_at -- until when, null while it is in force
FROM pin p
JOIN index_version v ON v.id = p.version_id;

DROP VIEW v_version;
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
  v.sealed_at AS sealed_at, -- when it was sealed
  v.ended_at AS ended_at, -- when it was revoked or abandoned
  EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL) AS is_pinned -- 1 while a pin keeps its outputs
FROM index_version v
JOIN trained_index t ON t.id = v.trained_index_id
JOIN source s ON s.id = v.source_id;

-- Outputs of no live version; segments that no unfinished output waits for;
-- nearest images while nothing is in training.
CREATE VIEW v_garbage AS
SELECT
  a.kind AS kind, -- output-shard, segment or nearest-images
  a.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  max(a.created_at, coalesce((SELECT max(max(coalesce(v.ended_at, v.created_at),
      coalesce((SELECT max(p.removed_at) FROM pin p WHERE p.version_id = v.id), '')))
    FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE o.sha256 = a.sha256), '')) AS unused_since -- when its last use ended: the grace period begins
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'output-shard' AND NOT EXISTS
  (SELECT 1 FROM output_shard o JOIN index_version v ON v.id = o.version_id
   WHERE o.sha256 = a.sha256 AND (v.state NOT IN ('revoked', 'abandoned')
     OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT a.kind, a.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(coalesce(v.ended_at, v.sealed_at, o.created_at, v.created_at))
    FROM segment g JOIN shard_revision r ON r.sha256 = g.shard_sha256
    JOIN version_input i ON i.shard_id = r.shard_id AND i.revision = r.revision
    JOIN index_version v ON v.id = i.version_id AND v.bad_rows_policy = g.bad_rows_policy
    JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = g.trained_sha256
    LEFT JOIN output_shard o ON o.version_id = v.id AND o.ordinal = i.output_ordinal
    WHERE g.sha256 = a.sha256), ''))
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'segment' AND NOT EXISTS
  (SELECT 1 FROM segment g JOIN shard_revision r ON r.sha256 = g.shard_sha256
    JOIN shard h ON h.id = r.shard_id
    JOIN version_input i ON i.shard_id = r.shard_id AND i.is_hole = 0
      AND coalesce(i.revision, h.current_revision) = r.revision
    JOIN index_version v ON v.id = i.version_id AND v.state IN ('planned', 'building')
      AND v.bad_rows_policy = g.bad_rows_policy
    JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = g.trained_sha256
    WHERE g.sha256 = a.sha256 AND NOT EXISTS
      (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal))
UNION ALL
SELECT a.kind, a.sha256, a.byte_count, a.path,
  max(a.created_at, coalesce((SELECT max(t.ready_at) FROM trained_index t), ''))
FROM artifact a
WHERE a.state = 'present' AND a.kind = 'nearest-images'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.state = 'training');
