-- The ranges of a scalar quantizer can be chosen: the view of trained indexes
-- says what was.

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
  r.epochs AS router_epochs, -- epochs of the router asked for, null without one
  CASE WHEN t.codec IN ('sq4', 'sq8') THEN t.spec ->> '$.ranges' END AS ranges -- minmax or quantiles:SHARE, null where the codec has none
FROM trained_index t
JOIN source i ON i.id = t.image_source_id
LEFT JOIN trained_router r ON r.trained_index_id = t.id
LEFT JOIN source c ON c.id = coalesce(t.caption_source_id, r.caption_source_id)
LEFT JOIN artifact a ON a.sha256 = t.sha256;
