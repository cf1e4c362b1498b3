-- Ways back from mistakes: what nothing that is sealed states may still be corrected.

-- A source keeps its dimension and dtype once bytes were held against them. Its name and
-- its modality are stated by versions alone, from their planning on.
DROP TRIGGER source_is_frozen;
CREATE TRIGGER source_is_frozen BEFORE UPDATE ON source
WHEN NEW.id IS NOT OLD.id
  OR NOT EXISTS (SELECT 1 FROM modality m WHERE m.name = NEW.modality)
  OR NOT EXISTS (SELECT 1 FROM dtype d WHERE d.name = NEW.dtype)
  OR (NEW.name IS NOT OLD.name AND EXISTS (SELECT 1 FROM source s WHERE s.name = NEW.name))
  OR (NEW.name IS NOT OLD.name AND (NEW.name NOT GLOB '*..*' AND instr(NEW.name, char(0)) = 0) IS NOT 1)
  OR ((NEW.dimension, NEW.dtype) IS NOT (OLD.dimension, OLD.dtype)
    AND EXISTS (SELECT 1 FROM shard h WHERE h.source_id = OLD.id AND h.current_revision IS NOT NULL))
  OR ((NEW.name, NEW.modality, NEW.dimension, NEW.dtype) IS NOT (OLD.name, OLD.modality, OLD.dimension, OLD.dtype)
    AND EXISTS (SELECT 1 FROM index_version v JOIN trained_index t ON t.id = v.trained_index_id
      WHERE v.state IS NOT 'abandoned' AND OLD.id IN (v.source_id, t.image_source_id, coalesce(t.caption_source_id, v.source_id))))
BEGIN SELECT RAISE(ABORT, 'a source never changes what its bytes or a version are held against'); END;

-- Ways back: a trained index that no version was planned on may go, and one that no
-- sealed version names may be called something else. What was trained never changes.

DROP TRIGGER trained_index_is_what_was_planned;
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

DROP TRIGGER trained_index_is_frozen;
CREATE TRIGGER trained_index_is_frozen BEFORE UPDATE ON trained_index
WHEN coalesce(NEW.state, '') NOT IN ('training', 'ready')
  OR (OLD.state IS NOT 'training'
    AND (NEW.state, NEW.sha256, NEW.ready_at) IS NOT (OLD.state, OLD.sha256, OLD.ready_at))
BEGIN SELECT RAISE(ABORT, 'a trained index never changes'); END;

DROP TRIGGER trained_index_is_kept;
CREATE TRIGGER trained_index_is_kept BEFORE DELETE ON trained_index
WHEN EXISTS (SELECT 1 FROM index_version v WHERE v.trained_index_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a trained index that a version was planned on is kept'); END;

-- A trained index goes whole: what is known of it goes with it, and not before.
DROP TRIGGER trained_index_goes_last;
CREATE TRIGGER trained_index_goes_whole AFTER DELETE ON trained_index
BEGIN
  DELETE FROM trained_input WHERE trained_index_id = OLD.id;
  DELETE FROM training_iteration WHERE trained_index_id = OLD.id;
  DELETE FROM router_epoch WHERE trained_index_id = OLD.id;
  DELETE FROM trained_router WHERE trained_index_id = OLD.id;
END;
DROP TRIGGER trained_input_is_kept;
CREATE TRIGGER trained_input_is_kept BEFORE DELETE ON trained_input
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the inputs of a trained index are kept'); END;
DROP TRIGGER training_iteration_is_kept;
CREATE TRIGGER training_iteration_is_kept BEFORE DELETE ON training_iteration
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the iterations of a trained index are kept'); END;
DROP TRIGGER router_epoch_is_kept;
CREATE TRIGGER router_epoch_is_kept BEFORE DELETE ON router_epoch
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the epochs of a trained index are kept'); END;
DROP TRIGGER trained_router_is_kept;
CREATE TRIGGER trained_router_is_kept BEFORE DELETE ON trained_router
WHEN EXISTS (SELECT 1 FROM trained_index t WHERE t.id = OLD.trained_index_id AND t.state IS NOT 'training')
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is kept'); END;
