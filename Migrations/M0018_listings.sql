-- Listings: where the names of a source's shards came from, each one that was used. The
-- newest is read again by a refresh; what it said of a shard is the shard's expectation.

CREATE TABLE source_listing (
  source_id INTEGER NOT NULL REFERENCES source (id),
  number INTEGER NOT NULL CHECK (number >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('hub', 'store', 'list')),
  -- as it is read again: hf://…@REVISION/DIR, an address, s3://BUCKET/PREFIX/, or a list's file
  place TEXT NOT NULL CHECK (place <> ''),
  pattern TEXT CHECK (pattern <> ''),
  commit_id TEXT CHECK (length(commit_id) = 40 AND commit_id NOT GLOB '*[^0-9a-f]*'),
  -- of its text: a line for each name that was chosen
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  name_count INTEGER NOT NULL CHECK (name_count >= 1),
  read_at TEXT NOT NULL,
  PRIMARY KEY (source_id, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER source_listing_is_frozen BEFORE UPDATE ON source_listing
BEGIN SELECT RAISE(ABORT, 'a listing that was used never changes'); END;
CREATE TRIGGER source_listing_is_not_replaced BEFORE INSERT ON source_listing
WHEN EXISTS (SELECT 1 FROM source_listing l WHERE l.source_id = NEW.source_id AND l.number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'a listing that was used never changes'); END;
