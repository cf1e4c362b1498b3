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
