-- The guards of the tables that were made anew, and of every row's identity.
--
-- They hold for every connection: none relies on foreign keys, on recursive
-- triggers or on CHECKs being on. Identity is compared whole in an update of any
-- column: UPDATE OF does not see a rowid under its other names. Comparisons are
-- IS and IS NOT, for with CHECKs off a column may come as null.

-- Lists: rows come with migrations, and none changes or goes.
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

-- Sources.
CREATE TRIGGER source_is_not_replaced BEFORE INSERT ON source
WHEN EXISTS (SELECT 1 FROM source s WHERE s.id = NEW.id) OR EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'there is a source of that name or number'); END;
CREATE TRIGGER source_is_of_a_kind BEFORE INSERT ON source
WHEN NOT EXISTS (SELECT 1 FROM modality m WHERE m.name = NEW.modality)
  OR NOT EXISTS (SELECT 1 FROM dtype d WHERE d.name = NEW.dtype)
BEGIN SELECT RAISE(ABORT, 'a source has a known modality and dtype'); END;
CREATE TRIGGER source_is_frozen BEFORE UPDATE ON source
WHEN NEW.id IS NOT OLD.id
  OR NOT EXISTS (SELECT 1 FROM modality m WHERE m.name = NEW.modality)
  OR NOT EXISTS (SELECT 1 FROM dtype d WHERE d.name = NEW.dtype)
  OR (NEW.name IS NOT OLD.name AND EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name))
  OR ((NEW.name, NEW.modality, NEW.dimension, NEW.dtype) IS NOT (OLD.name, OLD.modality, OLD.dimension, OLD.dtype)
    AND (EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id AND h.current_revision IS NOT NULL)
      OR EXISTS (SELECT 1 FROM index_version v WHERE v.source_id = OLD.id)))
BEGIN SELECT RAISE(ABORT, 'a source never changes once its shards were observed'); END;
CREATE TRIGGER source_is_kept BEFORE DELETE ON source
WHEN EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id)
  OR EXISTS (SELECT 1 FROM mirror m WHERE m.source_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a source with shards or mirrors is kept'); END;

-- Facts about mirrors and attempts may change or go; what they are about may not.
CREATE TRIGGER shard_location_is_of_one_place BEFORE UPDATE ON shard_location
WHEN (NEW.shard_id, NEW.mirror_id) IS NOT (OLD.shard_id, OLD.mirror_id)
BEGIN SELECT RAISE(ABORT, 'what is known of a shard on a mirror stays about these'); END;
CREATE TRIGGER transfer_is_not_replaced BEFORE INSERT ON transfer
WHEN EXISTS (SELECT 1 FROM transfer t WHERE t.id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;
CREATE TRIGGER transfer_is_frozen BEFORE UPDATE ON transfer
BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;

-- Shards.
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

-- Stored bytes.
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
-- Invariant 4: no bytes go that a trained index or a live version needs, or a
-- shard that is present.
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
-- When the last shard that needs bytes lets go of them, they go.
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

-- Purposes. No reference to bytes that are going or gone.
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
CREATE TRIGGER trained_index_is_what_was_planned BEFORE UPDATE ON trained_index
WHEN (NEW.id, NEW.name, NEW.method, NEW.codec, NEW.nlist, NEW.dimension, NEW.iterations, NEW.seed, NEW.pair_count,
    NEW.image_source_id, NEW.caption_source_id, NEW.spec, NEW.spec_sha256, NEW.created_at)
  IS NOT (OLD.id, OLD.name, OLD.method, OLD.codec, OLD.nlist, OLD.dimension, OLD.iterations, OLD.seed, OLD.pair_count,
    OLD.image_source_id, OLD.caption_source_id, OLD.spec, OLD.spec_sha256, OLD.created_at)
BEGIN SELECT RAISE(ABORT, 'what a trained index is made from never changes'); END;
CREATE TRIGGER trained_index_is_frozen BEFORE UPDATE ON trained_index
WHEN OLD.state IS NOT 'training' OR coalesce(NEW.state, '') NOT IN ('training', 'ready')
BEGIN SELECT RAISE(ABORT, 'a trained index never changes'); END;
CREATE TRIGGER trained_index_has_bytes BEFORE UPDATE ON trained_index
WHEN (NEW.state = 'ready' OR NEW.sha256 IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM stored_bytes b
  WHERE b.sha256 = NEW.sha256 AND b.place = 'artifacts' AND b.state = 'present')
BEGIN SELECT RAISE(ABORT, 'the bytes of a trained index are in the lake when it is ready'); END;
CREATE TRIGGER trained_index_is_kept BEFORE DELETE ON trained_index WHEN OLD.state IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'a trained index that is ready is kept'); END;
CREATE TRIGGER trained_index_goes_last BEFORE DELETE ON trained_index
WHEN EXISTS (SELECT 1 FROM trained_input i WHERE i.trained_index_id = OLD.id)
  OR EXISTS (SELECT 1 FROM training_iteration i WHERE i.trained_index_id = OLD.id)
  OR EXISTS (SELECT 1 FROM trained_router r WHERE r.trained_index_id = OLD.id)
  OR EXISTS (SELECT 1 FROM router_epoch e WHERE e.trained_index_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a trained index goes after its inputs, iterations and router'); END;

CREATE TRIGGER trained_router_while_training BEFORE INSERT ON trained_router
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
  OR EXISTS (SELECT 1 FROM trained_router r WHERE r.trained_index_id = NEW.trained_index_id)
  OR NOT EXISTS (SELECT 1 FROM router_method m WHERE m.name = NEW.method)
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is fixed when it is planned'); END;
CREATE TRIGGER trained_router_is_frozen BEFORE UPDATE ON trained_router
BEGIN SELECT RAISE(ABORT, 'the router of a trained index never changes'); END;
CREATE TRIGGER trained_router_is_kept BEFORE DELETE ON trained_router
WHEN (SELECT state FROM trained_index WHERE id = OLD.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is kept'); END;

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

CREATE TRIGGER segment_is_not_replaced BEFORE INSERT ON segment
WHEN EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
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

DROP TRIGGER pin_has_bytes;
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

-- Versions. A sealed one is frozen; it can be revoked, nothing else.
DROP TRIGGER sealed_version_is_frozen;
CREATE TRIGGER sealed_version_is_frozen BEFORE UPDATE ON index_version
WHEN OLD.state IN ('sealed', 'revoked')
  AND (NEW.state IS NOT 'revoked'
    OR (NEW.version_sha256, NEW.sealed_at) IS NOT (OLD.version_sha256, OLD.sealed_at))
BEGIN SELECT RAISE(ABORT, 'a sealed version is frozen'); END;
DROP TRIGGER index_version_is_frozen;
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
DROP TRIGGER version_input_is_bound_once;
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

-- Totals: their rows are there as long as what they sum, and those of a sealed
-- version say what is true of it.
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

-- What keeps the totals, for the tables that were made anew.
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
CREATE TRIGGER shard_total_moves AFTER UPDATE ON shard
WHEN (NEW.state, NEW.current_revision, NEW.expected_byte_count, NEW.reserved_byte_count)
  IS NOT (OLD.state, OLD.current_revision, OLD.expected_byte_count, OLD.reserved_byte_count)
BEGIN
  UPDATE shard_total SET shard_count = shard_count - 1, row_count = row_count - coalesce(x.rows, 0),
    byte_count = byte_count - coalesce(x.bytes, 0),
    known_byte_count = known_byte_count - coalesce(x.bytes, OLD.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count - coalesce(OLD.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = OLD.id AND r.revision = OLD.current_revision) AS x
  WHERE source_id = OLD.source_id AND state = OLD.state;
  UPDATE shard_total SET shard_count = shard_count + 1, row_count = row_count + coalesce(x.rows, 0),
    byte_count = byte_count + coalesce(x.bytes, 0),
    known_byte_count = known_byte_count + coalesce(x.bytes, NEW.expected_byte_count, 0),
    reserved_byte_count = reserved_byte_count + coalesce(NEW.reserved_byte_count, 0)
  FROM (SELECT max(r.row_count) AS rows, max(r.byte_count) AS bytes FROM shard_revision r
    WHERE r.shard_id = NEW.id AND r.revision = NEW.current_revision) AS x
  WHERE source_id = NEW.source_id AND state = NEW.state;
END;
-- A segment counts for every input with its content; of two formats the newer.
CREATE TRIGGER version_total_encodes AFTER INSERT ON segment
WHEN NOT EXISTS (SELECT 1 FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
  AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
  AND g.format_version > NEW.format_version)
BEGIN
  UPDATE version_total SET encoded_count = encoded_count + x.inputs * (y.rows IS NULL),
    encoded_row_count = encoded_row_count + x.inputs * (NEW.row_count - coalesce(y.rows, 0))
  FROM (SELECT i.version_id AS id, count(*) AS inputs FROM shard_revision r
      JOIN version_input i ON i.shard_id = r.shard_id AND i.revision = r.revision
      JOIN index_version v ON v.id = i.version_id AND v.bad_rows_policy = NEW.bad_rows_policy
      JOIN trained_index t ON t.id = v.trained_index_id AND t.sha256 = NEW.trained_sha256
    WHERE r.sha256 = NEW.shard_sha256 GROUP BY i.version_id) AS x,
    (SELECT (SELECT g.row_count FROM segment g WHERE g.trained_sha256 = NEW.trained_sha256
        AND g.shard_sha256 = NEW.shard_sha256 AND g.bad_rows_policy = NEW.bad_rows_policy
        AND g.format_version < NEW.format_version
      ORDER BY g.format_version DESC LIMIT 1) AS rows) AS y
  WHERE version_id = x.id;
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
