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
