-- Commands that wrote shards, or were to: what was run, what it read, how it ended.

CREATE TABLE command_run (
  transfer_id INTEGER PRIMARY KEY REFERENCES transfer (id) ON DELETE CASCADE,
  command TEXT NOT NULL,
  -- Null of what a signal ended, or of what never began.
  exit_status INTEGER CHECK (exit_status BETWEEN 0 AND 255),
  signal INTEGER CHECK (signal > 0),
  seconds REAL NOT NULL CHECK (seconds >= 0),
  -- The last that it printed.
  printed TEXT NOT NULL,
  -- What it wrote, where that came into the lake.
  sha256 TEXT CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  CHECK (exit_status IS NULL OR signal IS NULL),
  CHECK (sha256 IS NULL OR exit_status = 0)
) STRICT;
CREATE INDEX command_run_by_digest ON command_run (sha256);

-- Files that it declared to read, as they were before it ran.
CREATE TABLE command_input (
  transfer_id INTEGER NOT NULL REFERENCES command_run (transfer_id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  byte_count INTEGER NOT NULL CHECK (byte_count >= 0),
  PRIMARY KEY (transfer_id, position)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER command_run_is_not_replaced BEFORE INSERT ON command_run
WHEN EXISTS (SELECT 1 FROM command_run c WHERE c.transfer_id = NEW.transfer_id)
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;
CREATE TRIGGER command_run_is_frozen BEFORE UPDATE ON command_run
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;
CREATE TRIGGER command_input_is_not_replaced BEFORE INSERT ON command_input
WHEN EXISTS (SELECT 1 FROM command_input i WHERE i.transfer_id = NEW.transfer_id AND i.position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;
CREATE TRIGGER command_input_is_frozen BEFORE UPDATE ON command_input
BEGIN SELECT RAISE(ABORT, 'a run never changes'); END;
