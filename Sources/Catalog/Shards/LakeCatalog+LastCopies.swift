// Last copies: bytes of shards on which something rests and which no place is known to
// give again. Room is not made of them in silence.

internal import GRDB

extension LakeCatalog {
  /// What rests on the newest bytes of a shard where no place is known to give them again.
  ///
  /// - Parameter shard: A shard.
  /// - Returns: Versions and trained indexes, as people name them; none where the bytes may
  ///   go, and where they are not here.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func dependents(onLastCopyOf shard: Shard) throws -> [String] {
    try read { database in
      let revision = try Int.fetchOne(
        database,
        sql: """
          \(LakeCatalog.withNamesOfSources)
          SELECT r.revision FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
          WHERE h.id = ? AND h.state = 'present' AND \(LakeCatalog.isNowhereElse)
          """, arguments: [shard.id])
      guard let revision else { return [] }
      // What is planned takes the bytes that it finds.
      let unbound = try String.fetchAll(
        database,
        sql: """
          SELECT v.name || '@' || v.number FROM version_input i JOIN index_version v ON v.id = i.version_id
          WHERE i.shard_id = ? AND i.revision IS NULL AND i.is_hole = 0 AND v.state IN ('planned', 'building')
          ORDER BY v.name, v.number
          """, arguments: [shard.id])
      return try unbound + LakeCatalog.dependents(shard.id, revision: revision, database)
    }
  }

  /// What sources are called and were called before they were renamed, for ``isNowhereElse``.
  static let withNamesOfSources = """
    WITH RECURSIVE called (source_id, name) AS (
      SELECT id, name FROM source
      UNION SELECT c.source_id, json_extract(e.detail, '$.from') FROM called c
        JOIN event e ON e.subject = c.name AND e.verb = 'source-rename')
    """

  /// That no place is known to give the bytes of `r`, a revision of the shard `h`, again.
  ///
  /// A place that nobody asked yet counts: it was registered for this shard. None counts
  /// that lacks the shard or serves something else, or whose last bytes were refused as
  /// others: they came whole, and nothing was recorded of them since. Where the bytes came by
  /// `import`, without a list that has their digest, a place counts that was seen with as
  /// many bytes and never gave others, and a command that makes them. Nor is a copy the last one
  /// where another shard that is here has the same bytes.
  static let isNowhereElse = """
    NOT EXISTS (SELECT 1 FROM shard_revision q JOIN shard o ON o.id = q.shard_id AND o.current_revision = q.revision
      WHERE q.sha256 = r.sha256 AND o.id <> h.id AND o.state = 'present')
    AND NOT EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = h.id AND l.state IN ('unknown', 'present')
      AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.outcome = 'complete' AND t.id = (SELECT max(x.id) FROM transfer x
          WHERE x.shard_id = h.id AND x.mirror_id = l.mirror_id AND x.outcome IN ('complete', 'unchanged'))
        AND t.ended_at > (SELECT max(e.at) FROM called c JOIN event e ON e.subject = c.name || '/' || h.name
          WHERE c.source_id = h.source_id AND e.verb = 'fetched'))
      AND (r.mirror_id IS NOT NULL OR r.trust <> 'first-use'
        OR EXISTS (SELECT 1 FROM mirror m WHERE m.id = l.mirror_id AND m.template LIKE 'command:%')
        OR (l.state = 'present' AND l.byte_count IS r.byte_count AND NOT EXISTS (SELECT 1 FROM shard_revision o
          WHERE o.shard_id = h.id AND o.mirror_id = l.mirror_id AND o.revision <> r.revision))
        OR NOT EXISTS (SELECT 1 FROM called c JOIN event e ON e.subject = c.name || '/' || h.name
          WHERE c.source_id = h.source_id AND e.verb = 'fetched' AND json_extract(e.detail, '$.new') = 1
            AND json_extract(e.detail, '$.sha256') = r.sha256)))
    """

  /// That a version, sealed, pinned or in work, or a trained index rests on `r`, the newest
  /// revision of the shard `h`.
  static let isRestedOn = """
    (EXISTS (SELECT 1 FROM trained_input i WHERE i.shard_id = h.id AND i.revision = r.revision)
      OR EXISTS (SELECT 1 FROM version_input i JOIN index_version v ON v.id = i.version_id
        WHERE i.shard_id = h.id AND ((i.revision = r.revision AND (v.state NOT IN ('revoked', 'abandoned')
            OR EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)))
          OR (i.revision IS NULL AND i.is_hole = 0 AND v.state IN ('planned', 'building')))))
    """
}
