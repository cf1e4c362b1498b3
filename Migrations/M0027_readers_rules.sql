-- A rule of exclusions may be of a source that reads another one's files: companions stand beside
-- the source that has the files, and say what is known of its rows, too.

DROP TRIGGER exclusion_rule_is_of_a_companion;
CREATE TRIGGER exclusion_rule_is_of_a_companion BEFORE INSERT ON exclusion_rule
WHEN NOT EXISTS (SELECT 1 FROM source c JOIN source s ON s.id = NEW.source_id
  WHERE c.id = NEW.companion_id AND c.companion_of = coalesce(s.files_of, s.id))
BEGIN SELECT RAISE(ABORT, 'a rule of exclusions is about a companion of its source'); END;
