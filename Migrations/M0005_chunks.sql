-- What leads to the digest of a revision, so that damage is found and mended a
-- chunk at a time; and settings that may change while a command is at work.

-- SHA-256 runs over a file block by block; its state after a chunk follows from
-- its state before and the bytes between. states holds, for each whole chunk in
-- order, the state after it: eight 32-bit words, big-endian. So chunk i is right
-- if its bytes lead from state i - 1 (SHA-256's initial state for the first) to
-- state i, and the rest of the file if it leads from the last state to the
-- revision's sha256. The states prove the digest and nothing has to be trusted.
CREATE TABLE shard_chunks (
  shard_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  chunk_byte_count INTEGER NOT NULL CHECK (chunk_byte_count > 0 AND chunk_byte_count % 64 = 0),
  states BLOB NOT NULL,
  PRIMARY KEY (shard_id, revision),
  FOREIGN KEY (shard_id, revision) REFERENCES shard_revision (shard_id, revision)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER shard_chunks_fit BEFORE INSERT ON shard_chunks
WHEN length(NEW.states) IS NOT (SELECT 32 * (r.byte_count / NEW.chunk_byte_count) FROM shard_revision r
  WHERE r.shard_id = NEW.shard_id AND r.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'a revision has one state for each of its whole chunks'); END;
CREATE TRIGGER shard_chunks_are_not_replaced BEFORE INSERT ON shard_chunks
WHEN EXISTS (SELECT 1 FROM shard_chunks c WHERE c.shard_id = NEW.shard_id AND c.revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision never change'); END;
CREATE TRIGGER shard_chunks_are_frozen BEFORE UPDATE ON shard_chunks
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision never change'); END;
CREATE TRIGGER shard_chunks_are_kept BEFORE DELETE ON shard_chunks
BEGIN SELECT RAISE(ABORT, 'the chunks of a revision are kept'); END;

-- Wishes of the user, read again by commands that are at work. They vouch for
-- no bytes: these rows alone may be written without the lake's lock.
CREATE TABLE setting (
  name TEXT PRIMARY KEY CHECK (name IN ('bwlimit')),
  value TEXT NOT NULL CHECK (length(value) BETWEEN 1 AND 1000),
  changed_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW v_setting AS SELECT
  name AS setting, -- bwlimit: most bytes a second over all transfers
  value AS value, -- as it was written
  changed_at AS changed_at -- when it was set
FROM setting;
