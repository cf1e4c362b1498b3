// Last copies: bytes of shards on which something rests and which no place is known to
// give again. Room is not made of them in silence.

internal import GRDB

extension LakeCatalog {
  /// What rests on the newest bytes of a shard where no place is known to give them again.
  ///
  /// Bytes are asked for by their digest: what rests on them as those of another shard, which
  /// is not here any more, is lost with them, too.
  ///
  /// - Parameters:
  ///   - shard: A shard.
  ///   - mirrors: Mirrors that count as no place, as they could not be looked at.
  /// - Returns: Versions and trained indexes, as people name them; none where the bytes may
  ///   go, and where they are not here.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func dependents(onLastCopyOf shard: Shard, without mirrors: Set<Int64> = []) throws -> [String] {
    try read { try LakeCatalog.dependents(onLastCopyOf: shard.id, besides: [], without: mirrors, $0) }
  }

  /// The same, in a transaction.
  ///
  /// - Parameters:
  ///   - shardID: The shard.
  ///   - others: Shards that let go of the same bytes, too.
  ///   - mirrors: Mirrors that count as no place.
  ///   - database: The connection.
  /// - Returns: Versions and trained indexes, as people name them.
  /// - Throws: SQLite's error.
  static func dependents(
    onLastCopyOf shardID: Int64, besides others: Set<Int64>, without mirrors: Set<Int64> = [], _ database: Database
  ) throws -> [String] {
    let uses = try lastUses(with: shardID, besides: others, without: mirrors, isReplaced: false, database)
    guard !uses.isEmpty else { return [] }
    // What is planned takes the bytes that it finds.
    let unbound = try String.fetchAll(
      database,
      sql: """
        SELECT v.name || '@' || v.number FROM version_input i JOIN index_version v ON v.id = i.version_id
        WHERE i.shard_id = ? AND i.revision IS NULL AND i.is_hole = 0 AND v.state IN ('planned', 'building')
        ORDER BY v.name, v.number
        """, arguments: [shardID])
    return try unbound + dependents(on: uses, database)
  }

  /// What rests on the newest bytes of a shard, or on the same bytes as those of others that are not
  /// here, where other bytes would take their place.
  ///
  /// - Parameter shard: A shard.
  /// - Returns: Versions and trained indexes, as people name them.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func dependents(onReplaced shard: Shard) throws -> [String] {
    guard let revision = shard.revision else { return [] }
    return try read { try LakeCatalog.dependents(onReplaced: shard.id, revision: revision.number, $0) }
  }

  /// The same, in a transaction.
  ///
  /// - Parameters:
  ///   - shardID: The shard.
  ///   - revision: Its newest.
  ///   - database: The connection.
  /// - Returns: Versions and trained indexes, as people name them.
  /// - Throws: SQLite's error.
  static func dependents(onReplaced shardID: Int64, revision: Int, _ database: Database) throws -> [String] {
    let own = try dependents(shardID, revision: revision, database)
    guard own.isEmpty else { return own }
    return try dependents(on: lastUses(with: shardID, besides: [], isReplaced: true, database), database)
  }

  /// The shards whose newest bytes would be in no place that is known without one of them, that one first.
  ///
  /// - Parameters:
  ///   - shardID: The shard that lets go of them.
  ///   - others: Shards that do so, too.
  ///   - mirrors: Mirrors that count as no place.
  ///   - isReplaced: Whether its places give other bytes by now.
  ///   - database: The connection.
  /// - Returns: Shards and revisions; none where the bytes can be had again, or are not here.
  /// - Throws: SQLite's error.
  private static func lastUses(
    with shardID: Int64, besides others: Set<Int64>, without mirrors: Set<Int64> = [], isReplaced: Bool,
    _ database: Database
  ) throws -> [Row] {
    let uses = try Row.fetchAll(
      database,
      sql: """
        \(LakeCatalog.withNamesOfSources)
        SELECT h.id, r.revision, h.state = 'present' AS is_present,
          (\(lacksPlaces(without: mirrors))) AS has_no_place
        FROM shard_revision r JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision
        WHERE r.sha256 = (SELECT o.sha256 FROM shard k
          JOIN shard_revision o ON o.shard_id = k.id AND o.revision = k.current_revision
          WHERE k.id = ?1 AND k.state = 'present')
        ORDER BY h.id <> ?1, h.id
        """, arguments: [shardID])
    let stays = uses.contains { use in
      let id: Int64 = use["id"]
      let isPresent: Bool = use["is_present"]
      let hasNoPlace: Bool = use["has_no_place"]
      if id == shardID { return !hasNoPlace && !isReplaced }
      return !hasNoPlace || (isPresent && !others.contains(id))
    }
    return stays ? [] : uses
  }

  private static func dependents(on uses: [Row], _ database: Database) throws -> [String] {
    var names: [String] = []
    for use in uses {
      let found = try dependents(use["id"], revision: use["revision"], database)
      names += found.filter { !names.contains($0) }
    }
    return names
  }

  /// Whether a place is known that gives the newest bytes of a shard, whether they are here or not.
  package func hasPlace(ofShard id: Int64) throws -> Bool {
    try read {
      try Bool.fetchOne(
        $0,
        sql: """
          \(LakeCatalog.withNamesOfSources)
          SELECT NOT (\(LakeCatalog.hasNoPlace)) FROM shard h
          JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision WHERE h.id = ?
          """, arguments: [id]) ?? true
    }
  }

  /// What sources are called and were called before they were renamed, for ``hasNoPlace``.
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
  /// many bytes and never gave others, and a command that makes them.
  static let hasNoPlace = lacksPlaces(without: [])

  /// The same where some mirrors count as no place.
  private static func lacksPlaces(without mirrors: Set<Int64>) -> String {
    let others = mirrors.sorted().map { "\($0)" }.joined(separator: ", ")
    return """
      NOT EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = h.id AND l.state IN ('unknown', 'present')
        AND l.mirror_id NOT IN (\(others))
        AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.outcome = 'complete'
          AND t.id = (SELECT max(x.id) FROM transfer x
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
  }

  /// That a version, sealed, pinned or in work, or a trained index rests on `r`, the newest
  /// revision of the shard `h`.
  static let isRestedOn = """
    (EXISTS (SELECT 1 FROM trained_input i WHERE i.shard_id = h.id AND i.revision = r.revision)
      OR EXISTS (SELECT 1 FROM version_input i JOIN index_version v ON v.id = i.version_id
        WHERE i.shard_id = h.id AND ((i.revision = r.revision
            AND (v.state NOT IN ('revoked', 'abandoned') OR \(IndexVersion.isPinned)))
          OR (i.revision IS NULL AND h.state = 'present' AND i.is_hole = 0 AND v.state IN ('planned', 'building')))))
    """
}
