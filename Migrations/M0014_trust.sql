-- What a catalog tells apart since it is told what to trust: rows that somebody
-- vouched for or a file's own beginning gave, addresses that a document brought, and
-- query items that a user knows to be harmless.

-- Rows that the manifest gives, and that a mirror's file says at its beginning.
ALTER TABLE shard ADD COLUMN expected_row_count INTEGER CHECK (expected_row_count >= 0);
ALTER TABLE shard_location ADD COLUMN row_count INTEGER CHECK (row_count >= 0);

-- 1 where a document or a list brought the addresses, which then lead nowhere inside.
ALTER TABLE mirror ADD COLUMN is_of_document INTEGER NOT NULL DEFAULT 0 CHECK (is_of_document IN (0, 1));

-- Names of query items, lower case, with a blank before, between and after them.
ALTER TABLE source ADD COLUMN kept_query TEXT NOT NULL DEFAULT '';

-- What a name may be, where a row with it is made: names become parts of paths.

-- The rule of LakeName.swift, which refuses the same names with a reason.
CREATE TRIGGER shard_name_is_usable BEFORE INSERT ON shard
WHEN (length(CAST(NEW.name AS BLOB)) BETWEEN 1 AND 200 AND instr(NEW.name, char(0)) = 0
  AND NEW.name NOT GLOB '[. -]*' AND NEW.name NOT GLOB '*[. ]' AND NEW.name NOT GLOB '*..*'
  AND NEW.name NOT GLOB '*.part' AND NEW.name NOT GLOB '*.resume' AND NEW.name NOT GLOB '*.tmp'
  AND NEW.name NOT GLOB '*.link' AND NEW.name NOT GLOB '*[/\' || char(1) || '-' || char(31) || char(127) || ']*'
  -- Beyond ASCII: what is not seen, or changes what is seen around it, and U+FFFD, as which SQLite reads noncharacters.
  AND CASE WHEN length(NEW.name) = length(CAST(NEW.name AS BLOB)) THEN 1 ELSE NEW.name NOT GLOB '*[' ||
    char(128) || '-' || char(159) || char(173) || char(847) || char(1564) ||
    char(4447) || '-' || char(4448) || char(6068) || '-' || char(6069) || char(6155) || '-' || char(6159) ||
    char(8203) || '-' || char(8207) || char(8232) || '-' || char(8238) || char(8288) || '-' || char(8303) ||
    char(12644) || char(65279) || char(65440) || char(65520) || '-' || char(65531) ||
    char(65533) || '-' || char(65535) || char(113824) || '-' || char(113827) ||
    char(119155) || '-' || char(119162) || char(917504) || '-' || char(921599) ||
    ']*' END) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'a shard has a name that a file can have and that can be seen'); END;

-- Paths of shards begin with it, and none has two dots in a row. A CHECK sees nothing behind a NUL.
CREATE TRIGGER source_name_is_usable BEFORE INSERT ON source
WHEN (NEW.name NOT GLOB '*..*' AND instr(NEW.name, char(0)) = 0) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'a source has a name that paths can begin with'); END;
