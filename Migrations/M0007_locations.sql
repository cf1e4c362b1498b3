-- What is known of each shard on each mirror, for people: present, absent or
-- wrong there, how large, how fast, and from when it is asked in its turn again.

CREATE VIEW v_location AS SELECT
  s.name AS source, -- name of the source
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
