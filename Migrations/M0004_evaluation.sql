-- What versions find of what exact search finds: one row for each run of
-- `tarn evaluate`, one for each nprobe it measured, one for each depth there.

CREATE TABLE evaluation (
  id INTEGER PRIMARY KEY,
  version_id INTEGER NOT NULL REFERENCES index_version (id),
  evaluated_at TEXT NOT NULL,
  -- the query file's name, for people; its digest is what counts
  queries TEXT NOT NULL CHECK (queries <> ''),
  queries_sha256 TEXT NOT NULL CHECK (length(queries_sha256) = 64 AND queries_sha256 NOT GLOB '*[^0-9a-f]*'),
  query_count INTEGER NOT NULL CHECK (query_count >= 1),
  row_count INTEGER NOT NULL CHECK (row_count >= 0),
  -- the exact neighbours; the bytes may be collected and made again
  truth_sha256 TEXT NOT NULL REFERENCES artifact (sha256),
  threads INTEGER NOT NULL CHECK (threads >= 1),
  imbalance REAL NOT NULL CHECK (imbalance >= 1),
  -- lists by size: entry 0 the empty ones, entry b those of 2^(b-1) to 2^b - 1 rows
  list_sizes TEXT NOT NULL CHECK (list_sizes GLOB '[[]*]'),
  environment TEXT NOT NULL CHECK (environment GLOB '{*}')
) STRICT;
CREATE INDEX evaluation_by_version ON evaluation (version_id);
CREATE INDEX evaluation_by_truth ON evaluation (truth_sha256);

CREATE TABLE evaluation_point (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
  nprobe INTEGER NOT NULL CHECK (nprobe >= 1),
  vectors_scanned REAL NOT NULL CHECK (vectors_scanned >= 0),
  seconds REAL NOT NULL CHECK (seconds > 0),
  PRIMARY KEY (evaluation_id, nprobe)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation_recall (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
  nprobe INTEGER NOT NULL CHECK (nprobe >= 1),
  k INTEGER NOT NULL CHECK (k >= 1),
  recall REAL NOT NULL CHECK (recall BETWEEN 0 AND 1),
  standard_error REAL NOT NULL CHECK (standard_error >= 0),
  routing_recall REAL NOT NULL CHECK (routing_recall BETWEEN 0 AND 1),
  PRIMARY KEY (evaluation_id, nprobe, k)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER evaluation_is_not_replaced BEFORE INSERT ON evaluation
WHEN EXISTS (SELECT 1 FROM evaluation e WHERE e.id = NEW.id)
  OR (SELECT v.state IN ('sealed', 'revoked') FROM index_version v WHERE v.id = NEW.version_id) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'an evaluation is of a sealed version and never changes'); END;
CREATE TRIGGER evaluation_is_frozen BEFORE UPDATE ON evaluation
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;
CREATE TRIGGER evaluation_is_kept BEFORE DELETE ON evaluation
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;
CREATE TRIGGER evaluation_point_is_not_replaced BEFORE INSERT ON evaluation_point
WHEN EXISTS (SELECT 1 FROM evaluation_point p WHERE p.evaluation_id = NEW.evaluation_id AND p.nprobe = NEW.nprobe)
  OR NOT EXISTS (SELECT 1 FROM evaluation e WHERE e.id = NEW.evaluation_id)
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;
CREATE TRIGGER evaluation_point_is_frozen BEFORE UPDATE ON evaluation_point
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;
CREATE TRIGGER evaluation_point_is_kept BEFORE DELETE ON evaluation_point
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;
CREATE TRIGGER evaluation_recall_is_not_replaced BEFORE INSERT ON evaluation_recall
WHEN EXISTS (SELECT 1 FROM evaluation_recall r WHERE r.evaluation_id = NEW.evaluation_id AND r.nprobe = NEW.nprobe
    AND r.k = NEW.k)
  OR NOT EXISTS (SELECT 1 FROM evaluation_point p WHERE p.evaluation_id = NEW.evaluation_id AND p.nprobe = NEW.nprobe)
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;
CREATE TRIGGER evaluation_recall_is_frozen BEFORE UPDATE ON evaluation_recall
BEGIN SELECT RAISE(ABORT, 'an evaluation never changes'); END;
CREATE TRIGGER evaluation_recall_is_kept BEFORE DELETE ON evaluation_recall
BEGIN SELECT RAISE(ABORT, 'an evaluation is kept'); END;

CREATE VIEW v_evaluation AS SELECT
  e.id AS evaluation, -- number of the run, the newest has the greatest
  v.name || '@' || v.number AS version, -- NAME@N
  e.evaluated_at AS evaluated_at, -- when
  e.queries AS queries, -- name of the query file
  e.queries_sha256 AS queries_sha256, -- digest of the query file
  e.query_count AS query_count, -- queries in it
  r.k AS k, -- neighbours that recall is about
  r.nprobe AS nprobe, -- lists visited for each query
  p.vectors_scanned AS vectors_scanned, -- rows in those lists, mean over queries
  p.vectors_scanned / max(e.row_count, 1) AS share_scanned, -- the same as a share of all rows
  r.recall AS recall, -- share of the exact k nearest that came back, mean over queries
  r.standard_error AS standard_error, -- of that mean
  r.routing_recall AS routing_recall, -- share of the exact k nearest whose list was visited
  r.routing_recall - r.recall AS quantization_loss, -- what the codec cost
  e.query_count / p.seconds AS queries_per_second, -- at that nprobe, for the deepest k of the run
  e.threads AS threads, -- threads it ran on
  e.imbalance AS imbalance, -- nlist·Σn²/(Σn)² over rows per list, 1 is even
  e.list_sizes AS list_sizes -- lists by size as a JSON array: empty, 1, 2-3, 4-7, … rows
FROM evaluation e
JOIN index_version v ON v.id = e.version_id
JOIN evaluation_point p ON p.evaluation_id = e.id
JOIN evaluation_recall r ON r.evaluation_id = e.id AND r.nprobe = p.nprobe;
