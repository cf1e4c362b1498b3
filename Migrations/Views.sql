-- The views: the public SQL interface. Each line documents its column:
-- `tarn schema` prints these comments.
--
-- A tarn that opens a catalog of an older schema for writing drops every view and
-- makes them anew from here, after the tables are migrated: the schema's number
-- stands for this file too, and a change here takes a new number.
--
-- SQLite and DuckDB read the same text (docs/SQL.md), so it keeps to what means the
-- same in both, and a test holds every view's values of the one against the other's:
-- no CROSS JOIN … ON, no INDEXED BY; CASE for iif and for max of two values; sums and
-- truth values cast to BIGINT, or DuckDB makes 128 bits and booleans of them; no
-- division of whole numbers, which DuckDB does not round.

-- A dropped shard that is still here, or on its way, is counted as dropped alone, as v_shard
-- shows it: a source's shards are those registered, present, fetching, evicted, failed and dropped.
CREATE VIEW v_source AS SELECT
  s.name AS source, -- name of the source
  s.modality AS modality, -- image, text or other; index for files that were adopted
  CASE WHEN s.companion_of IS NULL THEN s.dimension END AS dimension, -- elements per row, null for a companion
  CASE WHEN s.companion_of IS NULL THEN s.dtype END AS dtype, -- float16, float32, float64, bfloat16, uint8 or int8, null for a companion
  w.name AS companion_of, -- the source beside whose rows it stands, null for features
  s.array_name AS array_name, -- array of its files that it reads, null where they have one
  o.name AS files_of, -- source whose files it reads, null where it has its own
  x.shards AS shards, -- shards registered
  x.present - coalesce(d.present, 0) AS present, -- shards whose bytes are in the lake
  x.fetching - coalesce(d.fetching, 0) AS fetching, -- shards a transfer is under way for
  x.evicted - coalesce(d.evicted, 0) AS evicted, -- shards fetched once, bytes evicted since
  x.failed - coalesce(d.failed, 0) AS failed, -- shards that no mirror could give
  coalesce(d.dropped, 0) AS dropped, -- shards that were dropped and keep their place, wherever their bytes are
  x.rows AS rows, -- rows of the shards fetched so far
  CASE WHEN s.files_of IS NULL THEN x.present_bytes ELSE 0 END AS present_bytes, -- bytes of its own files in the lake
  CASE WHEN s.files_of IS NULL THEN x.known_bytes ELSE 0 END AS known_bytes, -- bytes of all its own files whose size is known, if only as mirrors say
  s.created_at AS created_at, -- when it was registered
  x.registered - coalesce(d.registered, 0) AS registered -- shards that nobody asked for yet
FROM source s
LEFT JOIN source o ON o.id = s.files_of
JOIN (
  SELECT source_id,
    CAST(sum(shard_count) AS BIGINT) AS shards,
    CAST(sum(CASE WHEN state = 'registered' THEN shard_count ELSE 0 END) AS BIGINT) AS registered,
    CAST(sum(CASE WHEN state IN ('present', 'evicting') THEN shard_count ELSE 0 END) AS BIGINT) AS present,
    CAST(sum(CASE WHEN state = 'fetching' THEN shard_count ELSE 0 END) AS BIGINT) AS fetching,
    CAST(sum(CASE WHEN state = 'evicted' THEN shard_count ELSE 0 END) AS BIGINT) AS evicted,
    CAST(sum(CASE WHEN state IN ('absent', 'failed') THEN shard_count ELSE 0 END) AS BIGINT) AS failed,
    CAST(sum(row_count) AS BIGINT) AS rows,
    CAST(sum(CASE WHEN state IN ('present', 'evicting') THEN byte_count ELSE 0 END) AS BIGINT) AS present_bytes,
    CAST(sum(known_byte_count) AS BIGINT) AS known_bytes
  FROM shard_total GROUP BY source_id
) x ON x.source_id = coalesce(s.files_of, s.id)
LEFT JOIN source w ON w.id = s.companion_of
LEFT JOIN (
  SELECT source_id, count(*) AS dropped,
    CAST(sum(CASE WHEN state = 'registered' THEN 1 ELSE 0 END) AS BIGINT) AS registered,
    CAST(sum(CASE WHEN state IN ('present', 'evicting') THEN 1 ELSE 0 END) AS BIGINT) AS present,
    CAST(sum(CASE WHEN state = 'fetching' THEN 1 ELSE 0 END) AS BIGINT) AS fetching,
    CAST(sum(CASE WHEN state = 'evicted' THEN 1 ELSE 0 END) AS BIGINT) AS evicted,
    CAST(sum(CASE WHEN state IN ('absent', 'failed') THEN 1 ELSE 0 END) AS BIGINT) AS failed
  FROM shard WHERE CASE WHEN dropped_row_count IS NULL THEN state ELSE 'dropped' END = 'dropped' GROUP BY source_id
) d ON d.source_id = coalesce(s.files_of, s.id);

-- The first mirror is a join, for a subquery opens its tables anew for each row;
-- only a shard that the first mirror has no place for needs one.
CREATE VIEW v_shard AS SELECT
  s.name AS source, -- name of a source that reads it
  h.ordinal AS ordinal, -- place in the source, from 0
  h.name AS shard, -- file name
  CASE WHEN h.dropped_row_count IS NULL THEN h.state ELSE 'dropped' END AS state, -- registered, fetching, present, evicting, evicted, absent, failed or dropped
  h.current_revision AS revision, -- number of the newest observed revision
  r.sha256 AS sha256, -- its digest
  r.byte_count AS bytes, -- its size
  coalesce(r.row_count, h.dropped_row_count) AS rows, -- its rows
  r.trust AS trust, -- manifest, first-use or worker
  r.observed_at AS observed_at, -- when it was fetched
  h.expected_byte_count AS expected_bytes, -- size the manifest gives
  h.expected_sha256 AS expected_sha256, -- digest the manifest gives
  h.last_error AS last_error, -- why the last fetch failed
  CASE WHEN h.state IN ('present', 'evicting') THEN (SELECT b.path FROM stored_bytes b
    WHERE b.sha256 = r.sha256 AND b.place = 'shards') END AS path, -- file below the shards directory, while present
  coalesce(l.url, (SELECT x.url FROM mirror y CROSS JOIN shard_location x
    WHERE y.source_id = h.source_id AND x.shard_id = h.id AND x.mirror_id = y.id
    ORDER BY y.priority LIMIT 1)) AS url -- address on the first mirror
FROM shard h
JOIN source s ON coalesce(s.files_of, s.id) = h.source_id
LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
LEFT JOIN mirror m ON m.source_id = h.source_id AND m.priority = 0
LEFT JOIN shard_location l ON l.shard_id = h.id AND l.mirror_id = m.id;

CREATE VIEW v_transfer AS SELECT
  t.id AS transfer, -- number of the attempt
  s.name AS source, -- name of the source that has the file
  h.ordinal AS ordinal, -- the shard's place in it
  h.name AS shard, -- the shard's file name
  m.priority AS mirror, -- which mirror, 0 is the first
  t.url AS url, -- address asked
  t.outcome AS outcome, -- complete, unchanged, absent, failed or interrupted
  t.http_status AS http_status, -- status of the last answer
  t.resumed_from AS resumed_from, -- bytes already held when it began
  t.received_byte_count AS received_bytes, -- bytes received
  t.error AS error, -- why it failed
  t.started_at AS started_at, -- when it began
  t.ended_at AS ended_at -- when it ended
FROM transfer t
JOIN shard h ON h.id = t.shard_id
JOIN source s ON s.id = h.source_id
LEFT JOIN mirror m ON m.id = t.mirror_id;

CREATE VIEW v_command AS SELECT
  t.id AS transfer, -- number of the attempt, as in v_transfer
  s.name AS source, -- name of the source
  h.ordinal AS ordinal, -- the shard's place in it
  h.name AS shard, -- the shard's file name
  c.command AS command, -- what was run
  c.exit_status AS exit_status, -- how it ended; null when a signal ended it or it did not begin
  c.signal AS signal, -- the signal that ended it
  c.seconds AS seconds, -- how long it ran
  c.printed AS printed, -- the last that it printed
  c.sha256 AS sha256, -- digest of what it wrote, where that came into the lake
  (SELECT group_concat(i.sha256 || ' ' || i.path, '; ') FROM command_input i
    WHERE i.transfer_id = c.transfer_id) AS inputs, -- digest and path of each input that it declared
  t.error AS error, -- why it failed
  t.started_at AS started_at, -- when the attempt began
  t.ended_at AS ended_at -- when it ended
FROM command_run c
JOIN transfer t ON t.id = c.transfer_id
JOIN shard h ON h.id = t.shard_id
JOIN source s ON s.id = h.source_id;

CREATE VIEW v_location AS SELECT
  s.name AS source, -- name of the source that has the file
  h.ordinal AS ordinal, -- the shard's place in it
  h.name AS shard, -- the shard's file name
  m.priority AS mirror, -- which mirror, 0 is the first
  m.provenance AS provenance, -- original, or reconstructed by somebody
  l.url AS url, -- address of the shard there
  l.state AS state, -- unknown, present, absent or faulty
  l.byte_count AS bytes, -- size that the mirror says
  l.etag AS etag, -- what tells its bytes from others there
  l.last_modified AS last_modified, -- likewise, a date
  (SELECT t.received_byte_count / max(0.001, (julianday(t.ended_at) - julianday(t.started_at)) * 86400.0)
    FROM transfer t
    WHERE t.shard_id = l.shard_id AND t.mirror_id = l.mirror_id AND t.outcome = 'complete' AND t.received_byte_count > 0
    ORDER BY t.id DESC LIMIT 1) AS bytes_per_second, -- of the last whole transfer
  l.last_error AS last_error, -- what went wrong there last
  l.checked_at AS checked_at, -- when it was asked last
  CASE WHEN l.state IN ('absent', 'faulty')
    THEN strftime('%Y-%m-%dT%H:%M:%fZ', l.checked_at, '+1 day') END AS ask_again_at -- until then it is asked last
FROM shard_location l
JOIN shard h ON h.id = l.shard_id
JOIN source s ON s.id = h.source_id
JOIN mirror m ON m.id = l.mirror_id;

CREATE VIEW v_trained_index AS SELECT
  t.name AS trained_index, -- name of the trained index
  t.state AS state, -- training or ready
  t.method AS method, -- paired-kmeans, kmeans or adopted
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  t.dimension AS dimension, -- elements per row
  CASE WHEN t.method <> 'adopted' THEN t.iterations END AS iterations, -- k-means iterations asked for, null where it was adopted
  (SELECT count(*) FROM training_iteration i WHERE i.trained_index_id = t.id) AS iterations_done, -- and done
  CASE WHEN t.method <> 'adopted' THEN t.seed END AS seed, -- seed of the sample and of the first centroids, null likewise
  CASE WHEN t.method <> 'adopted' THEN t.pair_count END AS pairs, -- training rows, null likewise
  i.name AS images, -- image source, or the files it was adopted from
  c.name AS captions, -- caption source, of pairs or of the router
  t.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  t.created_at AS created_at, -- when training was asked for
  t.ready_at AS ready_at, -- when it was finished
  coalesce(r.method, 'none') AS router, -- what ranks lists: none (the centroids), caption-mean, learned or anchored
  r.epochs AS router_epochs, -- epochs of the router asked for, null without one
  CASE WHEN k.has_ranges = 1 AND instr(t.spec, '"ranges":"') > 0 THEN substr(t.spec, instr(t.spec, '"ranges":"') + 10,
    instr(substr(t.spec, instr(t.spec, '"ranges":"') + 10), '"') - 1) END AS ranges, -- minmax or quantiles:SHARE, null where the codec has none
  CASE WHEN instr(t.spec, '"refine":{"codec":"sq8"') > 0 THEN 'sq8'
    WHEN instr(t.spec, '"refine":{"codec":"fp16"') > 0 THEN 'fp16' END AS refine, -- what the best rows are ordered by again: sq8 or fp16, null for nothing
  CASE WHEN t.method = 'adopted' OR coalesce(t.caption_source_id, r.caption_source_id) IS NULL THEN NULL
    WHEN instr(t.spec, '"nearest":{"by":"') > 0 THEN substr(t.spec, instr(t.spec, '"nearest":{"by":"') + 17,
      instr(substr(t.spec, instr(t.spec, '"nearest":{"by":"') + 17), '"') - 1)
    ELSE 'exact' END AS nearest -- how nearest images were found: exact or index:NPROBE, null without captions
FROM trained_index t
JOIN source i ON i.id = t.image_source_id
LEFT JOIN trained_router r ON r.trained_index_id = t.id
JOIN codec k ON k.name = t.codec
LEFT JOIN source c ON c.id = coalesce(t.caption_source_id, r.caption_source_id)
LEFT JOIN stored_bytes a ON a.sha256 = t.sha256 AND a.place = 'artifacts';

CREATE VIEW v_version AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.name AS name, -- NAME
  v.number AS number, -- N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  t.name AS trained_index, -- trained index it uses
  t.codec AS codec, -- sq4, sq8, fp16 or flat
  t.nlist AS nlist, -- number of inverted lists
  s.name AS source, -- image source, or the files it was adopted from
  x.input_count AS inputs, -- shards in its plan
  x.hole_count AS holes, -- shards left out as missing
  x.output_count AS outputs, -- output shards finished
  x.output_row_count AS rows, -- rows in them
  x.output_byte_count + (SELECT CAST(coalesce(sum(o.refine_byte_count), 0) AS BIGINT) FROM output_shard o
    WHERE o.version_id = v.id) AS bytes, -- size of them, refine_bytes included
  v.version_sha256 AS sha256, -- digest of the lock file, once sealed
  v.published_as AS published_as, -- NAME@N that its lock file says, if it was pulled under another name
  v.created_at AS created_at, -- when it was planned
  v.sealed_at AS sealed_at, -- when it was sealed
  v.ended_at AS ended_at, -- when it was revoked or abandoned
  CAST(EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL) AS BIGINT) AS is_pinned, -- 1 while a pin keeps its outputs
  CASE WHEN instr(t.spec, '"refine":{"codec":"sq8"') > 0 THEN 'sq8'
    WHEN instr(t.spec, '"refine":{"codec":"fp16"') > 0 THEN 'fp16' END AS refine, -- what the best rows are ordered by again: sq8 or fp16, null for nothing
  (SELECT CAST(coalesce(sum(o.refine_byte_count), 0) AS BIGINT) FROM output_shard o WHERE o.version_id = v.id) AS refine_bytes, -- size of the codes for that
  CASE WHEN instr(v.environment, '"tool":"tarn ') > 0 THEN substr(v.environment, instr(v.environment, '"tool":"tarn ') + 13,
    instr(substr(v.environment, instr(v.environment, '"tool":"tarn ') + 13), '"') - 1) END AS tarn, -- the tarn that planned it, null where that is not known
  CASE WHEN instr(v.environment, '"cpu":"') > 0 THEN substr(v.environment, instr(v.environment, '"cpu":"') + 7,
    instr(substr(v.environment, instr(v.environment, '"cpu":"') + 7), '"') - 1) END AS cpu, -- processor of the machine that planned it, null likewise
  CASE WHEN instr(v.environment, '"processors":') > 0 THEN CAST(substr(v.environment, instr(v.environment, '"processors":') + 13,
    instr(replace(substr(v.environment, instr(v.environment, '"processors":') + 13), '}', ','), ',') - 1) AS BIGINT) END AS processors, -- how many of these it had, null likewise
  (SELECT max(e.actor) FROM event e WHERE e.subject = v.name || '@' || v.number AND e.verb = 'sealed') AS sealed_by -- who sealed it in this lake, or pulled it: user and host; null where the history does not tell
FROM index_version v
JOIN trained_index t ON t.id = v.trained_index_id
JOIN source s ON s.id = v.source_id
JOIN version_total x ON x.version_id = v.id;

CREATE VIEW v_version_input AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  i.ordinal AS input, -- place in the plan, from 0
  s.name AS source, -- name of the version's source
  s.array_name AS array_name, -- array of the file, null where it has one
  h.ordinal AS ordinal, -- the shard's place in the source
  h.name AS shard, -- the shard's file name
  i.revision AS revision, -- pinned revision, null until bound and in a hole
  r.sha256 AS sha256, -- digest of the pinned bytes
  r.byte_count AS bytes, -- size of the pinned bytes
  i.is_hole AS is_hole, -- 1 where the shard was missing and skipped
  i.first_id AS first_id, -- row id of the shard's first row
  i.row_count AS rows, -- rows, or the length of the hole
  i.output_ordinal AS output, -- output shard it goes to
  CAST(CASE WHEN h.state IN ('present', 'evicting') AND h.current_revision = i.revision THEN 1 ELSE 0 END AS BIGINT) AS is_present -- 1 while the pinned bytes are in the lake
FROM version_input i
JOIN index_version v ON v.id = i.version_id
JOIN shard h ON h.id = i.shard_id
JOIN source s ON s.id = v.source_id
LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision;

CREATE VIEW v_output_shard AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  o.ordinal AS output, -- number of the output shard, from 0
  printf('versions/%s@%d/%s.%03d.faiss', v.name, v.number, v.name, o.ordinal) AS file, -- file below the lake
  o.first_input AS first_input, -- first input in it
  o.last_input AS last_input, -- last input in it
  o.first_id AS first_id, -- least row id it may hold
  o.end_id AS end_id, -- one past the greatest
  o.row_count AS rows, -- rows in it
  o.byte_count AS bytes, -- size of the file
  o.sha256 AS sha256, -- digest of the file
  o.lists_sha256 AS lists_sha256, -- digest over the digests of its lists
  o.created_at AS created_at, -- when it was finished
  CASE WHEN o.refine_sha256 IS NOT NULL THEN printf('versions/%s@%d/%s.%03d.refine', v.name, v.number, v.name, o.ordinal) END AS refine_file, -- codes that refine it, below the lake, null without
  o.refine_byte_count AS refine_bytes, -- size of that
  o.refine_sha256 AS refine_sha256 -- digest of that
FROM output_shard o
JOIN index_version v ON v.id = o.version_id;

CREATE VIEW v_build_progress AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  v.state AS state, -- planned, building, sealed, revoked or abandoned
  x.input_count AS inputs, -- shards in the plan
  x.hole_count AS holes, -- of these left out as missing
  CASE WHEN v.sealed_at IS NULL THEN x.encoded_count ELSE x.input_count - x.hole_count END AS encoded, -- of these encoded into a segment; all once it is sealed, whoever encoded them
  CASE WHEN v.sealed_at IS NULL THEN x.input_count - x.hole_count - x.encoded_count ELSE 0 END AS inputs_left, -- of these not encoded yet
  x.planned_output_count AS outputs, -- output shards in the plan
  x.output_count AS outputs_done, -- of these finished
  x.row_count AS rows, -- rows in the plan, holes included
  CASE WHEN v.sealed_at IS NULL THEN x.encoded_row_count ELSE x.output_row_count END AS rows_encoded -- rows encoded
FROM index_version v
JOIN version_total x ON x.version_id = v.id;

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
  p.vectors_scanned / CASE WHEN e.row_count > 1 THEN e.row_count ELSE 1 END AS share_scanned, -- the same as a share of all rows
  r.recall AS recall, -- share of the exact k nearest that came back, mean over queries
  r.standard_error AS standard_error, -- of that mean
  r.routing_recall AS routing_recall, -- share of the exact k nearest whose list was visited
  r.routing_recall - r.recall AS quantization_loss, -- what the codec cost
  e.query_count / p.seconds AS queries_per_second, -- at that nprobe, for the deepest k of the run
  e.threads AS threads, -- threads it ran on
  e.imbalance AS imbalance, -- nlist·Σn²/(Σn)² over rows per list, 1 is even
  e.list_sizes AS list_sizes, -- lists by size as a JSON array: empty, 1, 2-3, 4-7, … rows
  CASE WHEN instr(e.environment, '"refined_rows":') > 0 THEN CAST(substr(e.environment, instr(e.environment, '"refined_rows":') + 15,
    instr(replace(substr(e.environment, instr(e.environment, '"refined_rows":') + 15), '}', ','), ',') - 1) AS BIGINT) END AS refined_rows, -- best rows of each query that were ordered again by codes that refine, null for none
  CASE WHEN instr(e.environment, '"sample_shards":[]') > 0 THEN 0
    WHEN instr(e.environment, '"sample_shards":[') > 0 THEN CAST(1 + length(substr(e.environment, instr(e.environment, '"sample_shards":['),
        instr(substr(e.environment, instr(e.environment, '"sample_shards":[')), ']')))
      - length(replace(substr(e.environment, instr(e.environment, '"sample_shards":['),
        instr(substr(e.environment, instr(e.environment, '"sample_shards":[')), ']')), ',', '')) AS BIGINT) END AS sample_shards -- shards that it was measured over, null for all
FROM evaluation e
JOIN index_version v ON v.id = e.version_id
JOIN evaluation_point p ON p.evaluation_id = e.id
JOIN evaluation_recall r ON r.evaluation_id = e.id AND r.nprobe = p.nprobe;

CREATE VIEW v_storage AS
SELECT
  x.kind AS kind, -- shard, or what an artifact was made for first
  x.file_count AS files, -- files in the lake, each counted once
  x.byte_count AS bytes -- their size
FROM stored_total x WHERE x.kind = 'shard'
UNION ALL
SELECT x.kind, x.file_count, x.byte_count FROM stored_total x WHERE x.kind <> 'shard' AND x.file_count > 0;

CREATE VIEW v_event AS SELECT
  e.seq AS seq, -- place in the history, from 1
  e.at AS at, -- when
  e.actor AS actor, -- who: user and host
  e.verb AS verb, -- what: source-add, fetched, trained, planned, output, sealed, revoked, pushed, …
  e.subject AS subject, -- to what: a source, SOURCE/SHARD, trained index, NAME@N or file
  e.detail AS detail, -- more of it, as JSON
  e.prev AS prev, -- hash of the event before, 64 zeros for the first
  e.hash AS hash -- SHA-256 of the lines seq, at, actor, verb, subject, detail, prev
FROM event e;

-- Copies of versions that were written for others, as the events of it tell: their details are
-- {"place":"…","sha256":"…"}, so that a place ends where the digest begins. What became of a copy nobody
-- tells the lake.
CREATE VIEW v_publication AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  e.verb AS kind, -- pushed, or exported into a folder
  replace(replace(substr(e.detail, 11, length(e.detail) - 88), '\"', '"'), '\\', '\') AS place, -- where to, without secrets
  substr(e.detail, length(e.detail) - 65, 64) AS sha256, -- digest of the lock file that was pushed, or of the index in the folder
  e.at AS published_at, -- when
  e.actor AS published_by, -- by whom: user and host
  v.state AS state, -- of the version now: copies of a revoked one are to be removed where they are
  e.seq AS seq -- the event's place in the history
FROM index_version v CROSS JOIN event e
WHERE e.subject = v.name || '@' || v.number AND e.verb IN ('pushed', 'exported');

CREATE VIEW v_pin AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  p.reason AS reason, -- why
  p.created_at AS pinned_at, -- since when
  p.removed_at AS unpinned_at -- until when, null while it is in force
FROM pin p
JOIN index_version v ON v.id = p.version_id;

-- Listings that shards were named by, the newest of a source the one that is in force.
CREATE VIEW v_listing AS SELECT
  s.name AS source, -- name of the source
  l.number AS number, -- 1 is the one that it was registered from
  l.kind AS kind, -- hub: a tree of a repository; store: a prefix; list: a plain list
  l.place AS place, -- where the listing was, as it is read again
  l.pattern AS pattern, -- what names were chosen by
  l.commit_id AS commit_id, -- the commit that it is of
  l.name_count AS names, -- how many names were chosen
  l.sha256 AS sha256, -- digest of its text, a line for each name: SHA256 BYTES NAME
  l.read_at AS read_at -- when it was read
FROM source_listing l
JOIN source s ON s.id = l.source_id;

CREATE VIEW v_setting AS SELECT
  name AS setting, -- bwlimit: most bytes a second over all transfers
  value AS value, -- as it was written
  changed_at AS changed_at -- when it was set
FROM setting;

-- A companion's shard beside the one whose rows it is about: what is fetched of both, and
-- whether they have as many rows.
CREATE VIEW v_companion AS SELECT
  s.name AS companion, -- name of the companion
  w.name AS owner, -- the source beside whose rows it stands
  h.ordinal AS ordinal, -- place of both shards in their sources
  h.name AS shard, -- the companion's file name
  o.name AS owner_shard, -- the owner's, null where it has no such shard
  CASE WHEN h.dropped_row_count IS NULL THEN h.state ELSE 'dropped' END AS state, -- state of the companion's shard
  r.revision AS revision, -- its newest observed revision
  r.sha256 AS sha256, -- digest of that
  r.row_count AS rows, -- rows of that
  coalesce(q.row_count, o.dropped_row_count, o.expected_row_count) AS owner_rows, -- rows of the owner's shard
  CAST(CASE WHEN r.row_count IS NULL OR coalesce(q.row_count, o.dropped_row_count, o.expected_row_count) IS NULL THEN NULL
    WHEN r.row_count = coalesce(q.row_count, o.dropped_row_count, o.expected_row_count) THEN 1 ELSE 0 END AS BIGINT) AS is_aligned, -- 1 for as many rows, 0 for others, null while one is not known
  CAST(CASE WHEN EXISTS (SELECT 1 FROM pack p JOIN stored_bytes b ON b.sha256 = p.sha256 AND b.place = 'artifacts'
    AND b.state = 'present' WHERE p.companion_sha256 = r.sha256) THEN 1 ELSE 0 END AS BIGINT) AS is_packed -- 1 where the lake has a pack of it
FROM source s
JOIN source w ON w.id = s.companion_of
JOIN shard h ON h.source_id = s.id
LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
LEFT JOIN shard o ON o.source_id = w.id AND o.ordinal = h.ordinal
LEFT JOIN shard_revision q ON q.shard_id = o.id AND q.revision = o.current_revision;

CREATE VIEW v_version_companion AS SELECT
  v.name || '@' || v.number AS version, -- NAME@N
  s.name AS companion, -- name of the companion
  h.ordinal AS ordinal, -- place of the shard in its source
  h.name AS shard, -- the companion's file name
  c.revision AS revision, -- the revision that says what the version's rows are
  r.sha256 AS sha256, -- its digest
  r.row_count AS rows, -- its rows
  c.bound_at AS bound_at, -- since when
  CAST(CASE WHEN h.current_revision = c.revision THEN 1 ELSE 0 END AS BIGINT) AS is_newest, -- 1 while the shard has no later revision
  CAST(CASE WHEN EXISTS (SELECT 1 FROM pack p JOIN stored_bytes b ON b.sha256 = p.sha256 AND b.place = 'artifacts'
    AND b.state = 'present' WHERE p.companion_sha256 = r.sha256) THEN 1 ELSE 0 END AS BIGINT) AS is_packed -- 1 where the lake has a pack of it
FROM version_companion c
JOIN index_version v ON v.id = c.version_id
JOIN shard h ON h.id = c.shard_id
JOIN source s ON s.id = h.source_id
JOIN shard_revision r ON r.shard_id = c.shard_id AND r.revision = c.revision
WHERE NOT EXISTS (SELECT 1 FROM version_companion x WHERE x.version_id = c.version_id AND x.shard_id = c.shard_id
  AND x.revision > c.revision);

-- What no purpose needs: outputs of no live version, and what refines them; truth that no evaluation of a
-- live version was measured against; segments that no unfinished output waits for;
-- nearest images and router labels while nothing is in training; packs of bytes that are no
-- companion's newest and of no live version, and those that hold an excluded row; bytes that nothing refers to. Bytes of each kind may serve the others too, but for what refines,
-- which begins as no other file does. Each branch finds the
-- digests in an index that holds all it needs (b) and reads the rows (a) of those
-- alone; a CROSS JOIN keeps SQLite to the order as it is written.
-- A segment's last use is the end or seal of the last version that has it, or the
-- output of an unfinished version that it went into; the CASE is what the index of
-- unfinished versions holds.
CREATE VIEW v_garbage AS
SELECT
  b.kind AS kind, -- what it was made for first: output-shard, segment, nearest-images, …
  b.sha256 AS sha256, -- digest of the file
  a.byte_count AS bytes, -- size of the file
  a.path AS path, -- file below the artifacts directory
  (SELECT CASE WHEN u.ended > a.created_at AND (u.unpinned IS NULL OR u.ended >= u.unpinned) THEN u.ended
      WHEN u.unpinned > a.created_at THEN u.unpinned ELSE a.created_at END
    FROM (SELECT max(coalesce(v.ended_at, v.created_at)) AS ended, max(p.removed_at) AS unpinned
      FROM output_shard o CROSS JOIN index_version v LEFT JOIN pin p ON p.version_id = v.id
      WHERE o.sha256 = b.sha256 AND v.id = o.version_id) u) AS unused_since -- when its last use ended: the grace period begins
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'output-shard'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  (SELECT CASE WHEN u.ended > a.created_at AND (u.unpinned IS NULL OR u.ended >= u.unpinned) THEN u.ended
      WHEN u.unpinned > a.created_at THEN u.unpinned ELSE a.created_at END
    FROM (SELECT max(coalesce(v.ended_at, o.evaluated_at)) AS ended, max(p.removed_at) AS unpinned
      FROM evaluation o CROSS JOIN index_version v LEFT JOIN pin p ON p.version_id = v.id
      WHERE o.truth_sha256 = b.sha256 AND v.id = o.version_id) u)
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'evaluation-truth'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  (SELECT CASE WHEN u.ended > a.created_at AND (u.merged IS NULL OR u.ended >= u.merged) THEN u.ended
      WHEN u.merged > a.created_at THEN u.merged ELSE a.created_at END
    FROM (SELECT
        max((SELECT coalesce(v.ended_at, v.sealed_at) FROM index_version v
          WHERE v.trained_index_id = t.id AND v.bad_rows_policy = g.bad_rows_policy
            AND g.array_name = (SELECT coalesce(y.array_name, '') FROM source y WHERE y.id = v.source_id)
            AND EXISTS (SELECT 1 FROM shard_revision r CROSS JOIN version_input i
              WHERE r.sha256 = g.shard_sha256 AND i.version_id = v.id AND i.shard_id = r.shard_id
                AND i.revision = r.revision)
          ORDER BY coalesce(v.ended_at, v.sealed_at) DESC LIMIT 1)) AS ended,
        max((SELECT max(coalesce(o.created_at, v.created_at)) FROM index_version v CROSS JOIN shard_revision r
            CROSS JOIN version_input i LEFT JOIN output_shard o ON o.version_id = i.version_id
              AND o.ordinal = i.output_ordinal
          WHERE CAST(CASE WHEN v.state IN ('planned', 'building') THEN v.trained_index_id END AS BIGINT) = t.id
            AND v.bad_rows_policy = g.bad_rows_policy
            AND g.array_name = (SELECT coalesce(y.array_name, '') FROM source y WHERE y.id = v.source_id) AND r.sha256 = g.shard_sha256
            AND i.version_id = v.id AND i.shard_id = r.shard_id AND i.revision = r.revision)) AS merged
      FROM segment g CROSS JOIN trained_index t WHERE g.sha256 = b.sha256 AND t.sha256 = g.trained_sha256) u)
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'segment'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS
  (SELECT 1 FROM segment g CROSS JOIN trained_index t CROSS JOIN index_version v
   WHERE g.sha256 = b.sha256 AND t.sha256 = g.trained_sha256
     AND CAST(CASE WHEN v.state IN ('planned', 'building') THEN v.trained_index_id END AS BIGINT) = t.id
     AND v.bad_rows_policy = g.bad_rows_policy
            AND g.array_name = (SELECT coalesce(y.array_name, '') FROM source y WHERE y.id = v.source_id) AND EXISTS
     (SELECT 1 FROM shard_revision r CROSS JOIN version_input i CROSS JOIN shard h
      WHERE r.sha256 = g.shard_sha256 AND i.version_id = v.id AND i.shard_id = r.shard_id AND i.is_hole = 0
        AND h.id = r.shard_id AND coalesce(i.revision, h.current_revision) = r.revision AND NOT EXISTS
        (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  (SELECT CASE WHEN u.ready > a.created_at THEN u.ready ELSE a.created_at END
    FROM (SELECT max(t.ready_at) AS ready FROM trained_index t) u)
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind IN ('nearest-images', 'router-labels')
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.state = 'training')
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path, a.created_at
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'trained-index'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  (SELECT CASE WHEN u.replaced > a.created_at THEN u.replaced ELSE a.created_at END
    FROM (SELECT max(coalesce(v.ended_at, n.observed_at, h.changed_at)) AS replaced
      FROM pack c CROSS JOIN shard_revision r CROSS JOIN shard h
      LEFT JOIN shard_revision n ON n.shard_id = h.id AND n.revision = h.current_revision
      LEFT JOIN version_companion x ON x.shard_id = r.shard_id AND x.revision = r.revision
      LEFT JOIN index_version v ON v.id = x.version_id
      WHERE c.sha256 = b.sha256 AND r.sha256 = c.companion_sha256 AND h.id = r.shard_id) u)
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'pack'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND (EXISTS (SELECT 1 FROM v_exclusion_holder x WHERE x.kind = 'pack' AND x.holder = a.path) OR NOT EXISTS (SELECT 1 FROM pack c CROSS JOIN shard_revision r CROSS JOIN shard h
    WHERE c.sha256 = b.sha256 AND r.sha256 = c.companion_sha256 AND h.id = r.shard_id AND h.dropped_row_count IS NULL
      AND (h.current_revision = r.revision OR EXISTS (SELECT 1 FROM version_companion x CROSS JOIN index_version v
        WHERE x.shard_id = r.shard_id AND x.revision = r.revision AND v.id = x.version_id
          AND (v.state <> 'revoked' OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id
            AND p.removed_at IS NULL))))))
UNION ALL
SELECT b.kind, b.sha256, a.byte_count, a.path,
  (SELECT CASE WHEN u.ended > a.created_at AND (u.unpinned IS NULL OR u.ended >= u.unpinned) THEN u.ended
      WHEN u.unpinned > a.created_at THEN u.unpinned ELSE a.created_at END
    FROM (SELECT max(coalesce(v.ended_at, v.created_at)) AS ended, max(p.removed_at) AS unpinned
      FROM output_shard o CROSS JOIN index_version v LEFT JOIN pin p ON p.version_id = v.id
      WHERE o.refine_sha256 = b.sha256 AND v.id = o.version_id) u)
FROM stored_bytes b CROSS JOIN stored_bytes a
WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'refine-shard'
  AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
    WHERE o.refine_sha256 = b.sha256 AND v.id = o.version_id AND (v.state NOT IN ('revoked', 'abandoned')
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
  AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
    WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id AND (v.state <> 'revoked'
      OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)));

-- Each row of each list of exclusions, and whether the entry counts: of those that name the row
-- the newest, of one that a rule found what the newest rule says of its value.
CREATE VIEW v_exclusion_entry AS SELECT
  s.name AS source, -- name of the source
  h.name AS shard, -- file name of the shard
  h.ordinal AS ordinal, -- the shard's place in the source, from 0
  x.shard_id AS shard_id, -- the catalog's number of the shard
  x.revision AS revision, -- the revision whose row it is
  r.sha256 AS sha256, -- digest of that
  x.row AS row, -- row in the shard, from 0
  l.number AS list, -- number of the list in the source
  l.kind AS kind, -- exclude, or readmit where that list takes earlier ones back
  u.number AS rule, -- the rule that found the row, null where it was named
  l.reason AS reason, -- why
  l.created_at AS listed_at, -- when
  CAST(CASE WHEN l.kind = 'readmit' THEN 0
    WHEN l.rule_id IS NULL AND EXISTS (SELECT 1 FROM exclusion_row y JOIN exclusion_list m ON m.id = y.list_id
      WHERE y.shard_id = x.shard_id AND y.revision = x.revision AND y.row = x.row AND m.source_id = l.source_id
        AND m.rule_id IS NULL AND m.number > l.number) THEN 0
    WHEN l.rule_id IS NOT NULL AND (SELECT n.kind FROM exclusion_value v JOIN exclusion_rule n ON n.id = v.rule_id
      WHERE v.sha256 = x.value_sha256 AND n.source_id = u.source_id AND n.companion_id = u.companion_id
        AND n.column_name = u.column_name
      ORDER BY n.number DESC LIMIT 1) = 'readmit' THEN 0
    ELSE 1 END AS BIGINT) AS is_in_force -- 1 where the row is excluded by this entry
FROM exclusion_row x
JOIN exclusion_list l ON l.id = x.list_id
JOIN shard h ON h.id = x.shard_id
JOIN source s ON s.id = l.source_id
JOIN shard_revision r ON r.shard_id = x.shard_id AND r.revision = x.revision
LEFT JOIN exclusion_rule u ON u.id = l.rule_id;

-- The versions that have a row of an entry, whatever their state.
CREATE VIEW v_exclusion_version AS SELECT
  e.source AS source, -- name of the source
  e.list AS list, -- number of the list in the source
  e.shard_id AS shard_id, -- the catalog's number of the shard
  e.revision AS revision, -- the revision whose row it is
  e.row AS row, -- row in the shard, from 0
  e.is_in_force AS is_in_force, -- 1 where the row is excluded by this entry
  v.name AS name, -- NAME of the version
  v.number AS number, -- its N
  v.state AS state, -- its state
  i.output_ordinal AS output -- the output that has the row
FROM v_exclusion_entry e
JOIN version_input i ON i.shard_id = e.shard_id AND i.revision = e.revision
JOIN index_version v ON v.id = i.version_id
JOIN source s ON s.id = v.source_id AND s.name = e.source
WHERE i.excluded_rows IS NULL
  OR replace(replace(i.excluded_rows, '[', ','), ']', ',') NOT LIKE '%,' || CAST(e.row AS TEXT) || ',%';

CREATE VIEW v_exclusion AS SELECT
  e.source AS source, -- name of the source
  e.shard AS shard, -- file name of the shard
  e.ordinal AS ordinal, -- the shard's place in the source, from 0
  e.row AS row, -- row in the shard, from 0
  e.sha256 AS sha256, -- digest of the bytes whose row it is
  e.list AS list, -- the newest list of the source that excludes it, or that took it back
  CASE WHEN e.is_in_force = 1 THEN 'exclude' ELSE 'readmit' END AS kind, -- exclude, or readmit where it may be found again
  e.rule AS rule, -- the rule that found it, null where it was named
  e.reason AS reason, -- why
  e.listed_at AS listed_at, -- when
  (SELECT count(*) FROM v_exclusion_version w WHERE w.shard_id = e.shard_id AND w.revision = e.revision AND w.row = e.row
    AND w.source = e.source AND w.list = e.list AND w.state = 'sealed') AS live_versions, -- sealed versions, not revoked, that have the row
  (SELECT count(*) FROM version_input i JOIN index_version v ON v.id = i.version_id JOIN source s ON s.id = v.source_id
    WHERE i.shard_id = e.shard_id AND i.revision <> e.revision AND v.state = 'sealed'
      AND s.name = e.source) AS other_bytes -- those that have other bytes of the shard
FROM v_exclusion_entry e
WHERE NOT EXISTS (SELECT 1 FROM v_exclusion_entry f WHERE f.shard_id = e.shard_id AND f.revision = e.revision
  AND f.row = e.row AND f.source = e.source
  AND (f.is_in_force > e.is_in_force OR (f.is_in_force = e.is_in_force AND f.list > e.list)));

-- Rows of a training are drawn from all of its shards, and lie in the scratch directory until it
-- is finished or given up: whether a row is among them is not known here. A publication stays named
-- for good: whether it was removed where it is nobody tells the lake.
CREATE VIEW v_exclusion_holder AS
SELECT
  e.source AS source, -- name of the source
  e.shard AS shard, -- file name of the shard
  e.row AS row, -- the excluded row, from 0
  'version' AS kind, -- what still holds it: version, output, refine, segment, shard, pack, companion, training where it may, or publication
  w.name || '@' || CAST(w.number AS TEXT) AS holder, -- the version, the unfinished training, the place of a publication, or the file below the artifacts or the shards directory
  'tarn revoke ' || w.name || '@' || CAST(w.number AS TEXT) || ' --reason TEXT' AS removed_by -- what takes it away
FROM v_exclusion_entry e
JOIN v_exclusion_version w ON w.shard_id = e.shard_id AND w.revision = e.revision AND w.row = e.row
  AND w.source = e.source AND w.list = e.list AND w.state = 'sealed'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'output', b.path, 'tarn gc --apply'
FROM v_exclusion_entry e
JOIN v_exclusion_version w ON w.shard_id = e.shard_id AND w.revision = e.revision AND w.row = e.row
  AND w.source = e.source AND w.list = e.list AND w.state <> 'sealed'
JOIN index_version v ON v.name = w.name AND v.number = w.number
JOIN output_shard o ON o.version_id = v.id AND o.ordinal = w.output
JOIN stored_bytes b ON b.sha256 = o.sha256 AND b.place = 'artifacts' AND b.state = 'present'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'refine', b.path, 'tarn gc --apply'
FROM v_exclusion_entry e
JOIN v_exclusion_version w ON w.shard_id = e.shard_id AND w.revision = e.revision AND w.row = e.row
  AND w.source = e.source AND w.list = e.list AND w.state <> 'sealed'
JOIN index_version v ON v.name = w.name AND v.number = w.number
JOIN output_shard o ON o.version_id = v.id AND o.ordinal = w.output
JOIN stored_bytes b ON b.sha256 = o.refine_sha256 AND b.place = 'artifacts' AND b.state = 'present'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'segment', b.path, 'tarn gc --segments --apply'
FROM v_exclusion_entry e
JOIN source s ON s.name = e.source
JOIN segment g ON g.shard_sha256 = e.sha256 AND g.array_name = coalesce(s.array_name, '')
JOIN stored_bytes b ON b.sha256 = g.sha256 AND b.place = 'artifacts' AND b.state = 'present'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'shard', b.path,
  'tarn evict ' || e.source || CASE WHEN h.current_revision = e.revision THEN '' ELSE ' --old' END
FROM v_exclusion_entry e
JOIN shard h ON h.id = e.shard_id
JOIN stored_bytes b ON b.sha256 = e.sha256 AND b.place = 'shards' AND b.state = 'present'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'pack', b.path, 'tarn gc --apply; tarn pack ' || c.name
FROM v_exclusion_entry e
JOIN source s ON s.name = e.source
JOIN source c ON c.companion_of = coalesce(s.files_of, s.id)
JOIN shard m ON m.source_id = c.id AND m.ordinal = e.ordinal
JOIN shard_revision q ON q.shard_id = m.id
JOIN pack p ON p.companion_sha256 = q.sha256 AND p.row_count > e.row
JOIN stored_bytes b ON b.sha256 = p.sha256 AND b.place = 'artifacts' AND b.state = 'present'
WHERE e.is_in_force = 1
  AND replace(replace(p.without_rows, '[', ','), ']', ',') NOT LIKE '%,' || CAST(e.row AS TEXT) || ',%'
UNION
SELECT e.source, e.shard, e.row, 'companion', b.path,
  'tarn evict ' || c.name || CASE WHEN m.current_revision = q.revision THEN '' ELSE ' --old' END
FROM v_exclusion_entry e
JOIN source s ON s.name = e.source
JOIN source c ON c.companion_of = coalesce(s.files_of, s.id)
JOIN shard m ON m.source_id = c.id AND m.ordinal = e.ordinal
JOIN shard_revision q ON q.shard_id = m.id AND q.row_count > e.row
JOIN stored_bytes b ON b.sha256 = q.sha256 AND b.place = 'shards' AND b.state = 'present'
WHERE e.is_in_force = 1
UNION
SELECT e.source, e.shard, e.row, 'training', t.name, 'tarn abandon ' || t.name || '; tarn gc --apply --grace 0s'
FROM v_exclusion_entry e
JOIN source s ON s.name = e.source
JOIN trained_input i ON i.shard_id = e.shard_id AND i.revision = e.revision
JOIN trained_index t ON t.id = i.trained_index_id AND t.state = 'training'
LEFT JOIN trained_router r ON r.trained_index_id = t.id
WHERE e.is_in_force = 1 AND (s.id = t.image_source_id OR s.id = t.caption_source_id OR s.id = r.caption_source_id)
UNION
SELECT e.source, e.shard, e.row, 'publication', p.place, 'remove ' || p.version || ' there'
FROM v_exclusion_entry e
JOIN v_exclusion_version w ON w.shard_id = e.shard_id AND w.revision = e.revision AND w.row = e.row
  AND w.source = e.source AND w.list = e.list
JOIN v_publication p ON p.version = w.name || '@' || CAST(w.number AS TEXT)
WHERE e.is_in_force = 1;

CREATE VIEW v_exclusion_rule AS SELECT
  s.name AS source, -- name of the source
  u.number AS number, -- from 1; of a value of a column the newest rule counts
  u.kind AS kind, -- exclude, or readmit where its values are taken back
  c.name AS companion, -- the companion whose column is looked at
  u.column_name AS column_name, -- the column
  u.value_count AS value_count, -- how many values it has
  u.sha256 AS sha256, -- digest of these: a line for each, the SHA-256 of its text, ascending
  u.reason AS reason, -- why
  u.created_at AS made_at, -- when
  (SELECT count(*) FROM exclusion_scan n WHERE n.rule_id = u.id) AS shards_scanned, -- pairs of a shard's and the companion's bytes that were held against it
  (SELECT count(*) FROM exclusion_list l JOIN exclusion_row x ON x.list_id = l.id WHERE l.rule_id = u.id) AS rows_found -- rows that it put on lists
FROM exclusion_rule u
JOIN source s ON s.id = u.source_id
JOIN source c ON c.id = u.companion_id;
