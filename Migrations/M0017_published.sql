-- A version that was pulled under another name keeps the name that its publisher sealed it
-- under: lock file and document say that one, and the version's digest proves it.

-- NAME@N of the publisher; null where it is the version's own.
ALTER TABLE index_version ADD COLUMN published_as TEXT
CHECK (published_as GLOB '?*@[1-9]*' AND published_as <> name || '@' || number);

CREATE TRIGGER version_keeps_its_published_name BEFORE UPDATE ON index_version
WHEN NEW.published_as IS NOT OLD.published_as
BEGIN SELECT RAISE(ABORT, 'a version keeps the name that it was published under'); END;

-- Element types that convert to float32: exactly, but for float64, which is rounded once.
INSERT INTO dtype VALUES ('float64', 8), ('bfloat16', 2), ('uint8', 1), ('int8', 1);
