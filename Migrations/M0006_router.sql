-- Routers: what ranks the lists of a trained index for a query, where that is
-- not the centroids that file its rows.

CREATE TABLE trained_router (
  trained_index_id INTEGER PRIMARY KEY REFERENCES trained_index (id),
  method TEXT NOT NULL CHECK (method IN ('caption-mean', 'learned')),
  caption_source_id INTEGER NOT NULL REFERENCES source (id),
  -- captions it is trained on; as many blends of two come on top
  caption_count INTEGER NOT NULL CHECK (caption_count >= 1),
  epochs INTEGER NOT NULL CHECK (epochs >= 0)
) STRICT;
CREATE INDEX trained_router_by_captions ON trained_router (caption_source_id);

CREATE TABLE router_epoch (
  trained_index_id INTEGER NOT NULL REFERENCES trained_index (id),
  epoch INTEGER NOT NULL CHECK (epoch >= 1),
  -- mean cross-entropy while it was trained, in nats
  loss REAL NOT NULL,
  PRIMARY KEY (trained_index_id, epoch)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER trained_router_while_training BEFORE INSERT ON trained_router
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
  OR EXISTS (SELECT 1 FROM trained_router r WHERE r.trained_index_id = NEW.trained_index_id)
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is fixed when it is planned'); END;
CREATE TRIGGER trained_router_is_frozen BEFORE UPDATE ON trained_router
BEGIN SELECT RAISE(ABORT, 'the router of a trained index never changes'); END;
CREATE TRIGGER trained_router_is_kept BEFORE DELETE ON trained_router
WHEN (SELECT state FROM trained_index WHERE id = OLD.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'the router of a trained index is kept'); END;
CREATE TRIGGER router_epoch_while_training BEFORE INSERT ON router_epoch
WHEN (SELECT state FROM trained_index WHERE id = NEW.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'epochs are recorded only while a trained index is in training'); END;
CREATE TRIGGER router_epoch_is_frozen BEFORE UPDATE ON router_epoch
BEGIN SELECT RAISE(ABORT, 'a recorded epoch never changes'); END;
CREATE TRIGGER router_epoch_is_kept BEFORE DELETE ON router_epoch
WHEN (SELECT state FROM trained_index WHERE id = OLD.trained_index_id) IS NOT 'training'
BEGIN SELECT RAISE(ABORT, 'the epochs of a trained index are kept'); END;
CREATE TRIGGER trained_index_goes_after_its_router BEFORE DELETE ON trained_index
WHEN EXISTS (SELECT 1 FROM trained_router r WHERE r.trained_index_id = OLD.id)
  OR EXISTS (SELECT 1 FROM router_epoch e WHERE e.trained_index_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a trained index goes after its router'); END;

DROP VIEW v_trained_index;
CREATE VIEW v_trained_index AS SELECT
  t.name AS trained_index, -- name of the trained index
  t.state AS state, -- training or ready
  t.method AS method, -- paired-kmeans or kmeans
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  t.dimension AS dimension, -- elements per row
  t.iterations AS iterations, -- k-means iterations asked for
  (SELECT count(*) FROM training_iteration i WHERE i.trained_index_id = t.id) AS iterations_done, -- and done
  t.seed AS seed, -- seed of the sample and of the first centroids
  t.pair_count AS pairs, -- training rows
  i.name AS images, -- image source
  c.name AS captions, -- caption source, of pairs or of the router
  t.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  t.created_at AS created_at, -- when training was asked for
  t.ready_at AS ready_at, -- when it was finished
  coalesce(r.method, 'none') AS router, -- what ranks lists: none (the centroids), caption-mean or learned
  r.epochs AS router_epochs -- epochs of the router asked for, null without one
FROM trained_index t
JOIN source i ON i.id = t.image_source_id
LEFT JOIN trained_router r ON r.trained_index_id = t.id
LEFT JOIN source c ON c.id = coalesce(t.caption_source_id, r.caption_source_id)
LEFT JOIN artifact a ON a.sha256 = t.sha256;
