// Bytes that a shard had before others came: who pins them, and those that stay in
// the lake beside the newer ones. Such bytes are present although their removal was
// decided, at the time in `deleting_at`; the budget counts them like any.

package import Base
internal import GRDB

/// What becomes of the bytes that a shard has when its mirrors, or a file, give others.
package enum Replacement: Sendable {
  /// They go, and where something rests on them the others are refused.
  case ofUnpinned
  /// They go.
  case always
  /// They stay in the lake beside the others.
  case keepingOld
}

/// Bytes of a shard in the lake that are not its newest.
package struct KeptRevision: Sendable {
  package let shardID: Int64
  package let sourceName: String
  package let shardName: String
  package let number: Int
  package let digest: ContentDigest
  package let byteCount: Int
  /// File below the shards directory.
  package let path: String
  /// Versions and trained indexes that rest on them, as people name them.
  package let dependents: [String]
  /// When their last use ended, in the catalog's form; nil while something rests on them.
  package let unusedSince: String?
}

extension LakeCatalog {
  /// The versions that pin the current bytes of a shard, and the trained indexes that
  /// were made with them, as people name them.
  package func dependents(of shard: Shard) throws -> [String] {
    guard let revision = shard.revision else { return [] }
    return try read { try LakeCatalog.dependents(shard.id, revision: revision.number, $0) }
  }

  static func dependents(_ shardID: Int64, revision: Int, _ database: Database) throws -> [String] {
    let versions = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT v.name || '@' || v.number FROM version_input i JOIN index_version v ON v.id = i.version_id
        WHERE i.shard_id = ?1 AND i.revision = ?2
          AND (v.state NOT IN ('revoked', 'abandoned') OR \(IndexVersion.isPinned))
        ORDER BY v.name, v.number
        """, arguments: [shardID, revision])
    let trained = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT t.name FROM trained_input i JOIN trained_index t ON t.id = i.trained_index_id
        WHERE i.shard_id = ?1 AND i.revision = ?2 ORDER BY t.name
        """, arguments: [shardID, revision])
    return versions + trained.map(dependent)
  }

  /// What a trained index is called among what rests on bytes.
  package static func dependent(trainedIndex name: String) -> String { "the trained index \(name)" }

  /// Refuses bytes that would replace those of a shard on which something rests.
  static func requireUnpinned(_ shard: Shard, revision: Int, _ database: Database) throws {
    let dependents = try dependents(onReplaced: shard.id, revision: revision, database)
    guard !dependents.isEmpty else { return }
    throw TarnError(
      .conflict,
      "\(shard.name) of \(shard.sourceName) has other bytes now, and \(list(dependents)) on those in the lake",
      hint: Replacement.hint)
  }

  /// What rests on something, for the middle of a sentence: `a@1, b@1 and 3 more rest`.
  package static func list(_ dependents: [String]) -> String {
    dependents.listed() + (dependents.count == 1 ? " rests" : " rest")
  }

  /// Lets the bytes of a replaced revision stay, in the transaction that replaced them.
  static func keep(_ digest: ContentDigest, _ database: Database) throws {
    // The time stays: so they are told from those of a shard's newest revision.
    try database.run(
      "UPDATE stored_bytes SET state = 'present' WHERE sha256 = ? AND place = 'shards' AND state = 'deleting'",
      [digest.hex])
  }

  /// Lets bytes stay that a shard lets go of, in the transaction in which it does, where something rests on them as an
  /// older revision of another shard: while this one needed them, nothing had to be kept for that one.
  ///
  /// - Parameters:
  ///   - digest: The bytes.
  ///   - shardID: The shard that lets go of them.
  ///   - database: The connection.
  /// - Throws: SQLite's error.
  static func keepAsOlder(_ digest: ContentDigest, besides shardID: Int64, _ database: Database) throws {
    let older = try Row.fetchAll(
      database,
      sql: """
        SELECT r.shard_id, r.revision FROM shard_revision r JOIN shard h ON h.id = r.shard_id
        WHERE r.sha256 = ? AND r.shard_id <> ? AND h.current_revision IS NOT r.revision
        """, arguments: [digest.hex, shardID])
    let isNeeded = try older.contains { try !dependents($0["shard_id"], revision: $0["revision"], database).isEmpty }
    if isNeeded { try keep(digest, database) }
  }

  /// Where the bytes of a digest are, below the shards directory, whichever shards
  /// have or had them; nil when they are not in the lake.
  package func shardPath(holding digest: ContentDigest) throws -> String? {
    let found = try read { try StoredBytes.find(digest, in: .shards, $0) }
    return found.flatMap { $0.state == .present ? $0.path : nil }
  }

  /// Makes bytes that a shard had once, and the lake has still, its newest again; those
  /// that it has are kept.
  ///
  /// - Parameters:
  ///   - digest: The bytes.
  ///   - shard: The shard.
  /// - Returns: Whether they are whole, and the newest now.
  /// - Throws: ``TarnError``.
  package func takeUp(_ digest: ContentDigest, of shard: Shard) throws -> Bool {
    let known = try read {
      try ShardRevision.fetchOne(
        $0, sql: "SELECT * FROM shard_revision WHERE shard_id = ? AND sha256 = ?", arguments: [shard.id, digest.hex])
    }
    guard let known, let path = try shardPath(holding: digest),
      try Disk.digest(of: layout.path(path, in: .shards)) == digest
    else { return false }
    _ = try recordFetched(
      FetchedBytes(
        digest: digest, byteCount: known.byteCount, rowCount: known.rowCount, path: path, mirrorID: nil, etag: nil,
        lastModified: nil), of: shard, replacing: .keepingOld)
    return true
  }

  /// The bytes in the lake that are no shard's newest, each once.
  ///
  /// - Parameter source: Of which source; nil for all.
  /// - Returns: The revisions, by source, shard and number.
  /// - Throws: ``TarnError``.
  package func keptRevisions(of source: Source? = nil) throws -> [KeptRevision] {
    try read { database in
      let rows = try Row.fetchAll(
        database,
        sql: """
          SELECT b.sha256, b.byte_count, b.path, b.deleting_at AS since, h.id, h.source_id,
            h.name, s.name AS source, r.revision, h.current_revision IS r.revision AS is_newest,
            (SELECT max(coalesce(v.ended_at, '')) FROM version_input i JOIN index_version v ON v.id = i.version_id
              WHERE i.shard_id = r.shard_id AND i.revision = r.revision) AS ended,
            (SELECT max(coalesce(p.removed_at, '')) FROM version_input i JOIN pin p ON p.version_id = i.version_id
              WHERE i.shard_id = r.shard_id AND i.revision = r.revision) AS unpinned
          FROM stored_bytes b JOIN shard_revision r ON r.sha256 = b.sha256 JOIN shard h ON h.id = r.shard_id
          JOIN source s ON s.id = h.source_id
          WHERE b.place = 'shards' AND b.state = 'present' AND b.deleting_at IS NOT NULL
          ORDER BY s.name, h.ordinal, r.revision
          """)
      var order: [String] = []
      var byDigest: [String: [Row]] = [:]
      for row in rows {
        let digest: String = row["sha256"]
        if byDigest[digest] == nil { order.append(digest) }
        byDigest[digest, default: []].append(row)
      }
      return try order.compactMap { digest in
        let owners = byDigest[digest] ?? []
        let ofSource = owners.filter { source == nil || $0["source_id"] == source?.id }
        // Another shard may have let go of the same bytes as its newest.
        guard let row = ofSource.first(where: { !($0["is_newest"] as Bool) }) ?? ofSource.first else { return nil }
        let dependents = try owners.flatMap {
          try LakeCatalog.dependents($0["id"], revision: $0["revision"], database)
        }
        let ends = owners.flatMap { [$0["since"] as String?, $0["ended"] as String?, $0["unpinned"] as String?] }
        return KeptRevision(
          shardID: row["id"], sourceName: row["source"], shardName: row["name"], number: row["revision"],
          digest: try row.requiredDigest("sha256"), byteCount: row["byte_count"], path: row["path"],
          dependents: dependents, unusedSince: dependents.isEmpty ? ends.compactMap(\.self).max() : nil)
      }
    }
  }

  /// Gives up bytes that are no shard's newest: the row says so first, then they go.
  ///
  /// - Parameters:
  ///   - kept: What ``keptRevisions(of:)`` found.
  ///   - reason: Why, for the history; nil when its room is wanted.
  /// - Throws: ``TarnError``.
  package func release(_ kept: KeptRevision, because reason: String? = nil) throws {
    if let refusal = Disk.refusalToRemove(layout.path(kept.path, in: .shards)) { throw refusal }
    try write("evicting") { database in
      try database.run(
        """
        UPDATE stored_bytes SET state = 'deleting', deleting_at = ?
        WHERE sha256 = ? AND place = 'shards' AND state = 'present'
        """, [Timestamp.now(), kept.digest.hex])
      var detail: [String: JSONValue] = ["revision": .count(kept.number), "sha256": .string(kept.digest.hex)]
      if let reason { detail["reason"] = .string(reason) }
      try LakeCatalog.record(.evicted, "\(kept.sourceName)/\(kept.shardName)", detail, database)
    }
    try remove(givenUp: kept.path)
  }
}

extension Replacement {
  /// What a user may say to bytes that would replace others.
  package static let hint = "--replace drops the old bytes for the new ones, --keep-old keeps both"
}
