// Shards that are dropped: those that were never fetched go off a source's end, all
// others leave a tombstone, which keeps their ordinal and the ids of their rows, and can
// be taken back. The schema's guards refuse the same; here is said what stands in the way.

package import Base
internal import GRDB

/// What became of shards that were dropped, by name, in order.
package struct DroppedShards: Sendable {
  /// Taken off the end, as if they had never been registered.
  package var removed: [String] = []
  /// Left out from now on, with their places kept.
  package var tombstones: [String] = []

  package init() {}
}

extension LakeCatalog {
  /// Drops shards of a source.
  ///
  /// - Parameters:
  ///   - ordinals: Which; one that was dropped before is passed over.
  ///   - source: The source.
  ///   - lengths: Rows of shards, by ordinal, that follow from their sizes.
  /// - Returns: What became of each.
  /// - Throws: ``TarnError`` `.usage` for one of unknown length that is not at the end,
  ///   or when none would be left; `.conflict` naming what rests on one. Then nothing has
  ///   changed.
  package func dropShards(
    _ ordinals: OrdinalSet, of source: Source, lengths: [Int: Int] = [:]
  ) throws -> DroppedShards {
    let all = try shards(of: source)
    let chosen = try shards(of: source, ordinals: ordinals).filter { !$0.isDropped }
    guard !chosen.isEmpty else { return DroppedShards() }
    guard chosen.count < all.count(where: { !$0.isDropped }) else {
      throw TarnError(
        .usage, "\(source.name) would have no shards", hint: "`tarn source remove \(source.name)` removes all of it")
    }
    let told = try sourceHistory().told[source.name]
    return try write("drop shards") { database in
      var (named, namedBy) = (0, "")
      for version in try LakeCatalog.documented(by: source, database) {
        let sealedAt = try Int.fetchOne(
          database, sql: "SELECT max(seq) FROM event WHERE subject = ? AND verb = 'sealed'", arguments: [version])
        let count = sealedAt.flatMap { told?.shardCount(at: $0) } ?? all.count
        if count > named { (named, namedBy) = (count, version) }
      }
      var first = all.count
      while let shard = chosen.last(where: { $0.ordinal == first - 1 }), shard.ordinal >= named,
        try !LakeCatalog.isReferredTo(shard.id, database)
      {
        first -= 1
      }
      let (kept, removed) = (chosen.filter { $0.ordinal < first }, chosen.filter { $0.ordinal >= first })
      let now = Timestamp.now()
      for shard in kept {
        try LakeCatalog.requireUnneeded(shard, database)
        guard let length = shard.knownRowCount ?? lengths[shard.ordinal] else {
          let rows = "nobody knows how many rows \(shard.name) of \(source.name) has"
          guard shard.ordinal >= named else {
            throw TarnError(
              .conflict, "\(rows), and the document of \(namedBy) names it",
              hint: "`tarn source probe \(source.name)` asks; `tarn sync` and `tarn build` leave it out with --shards")
          }
          throw TarnError(
            .usage, "\(rows), and the ids after it depend on that",
            hint: "`tarn source probe \(source.name)` asks for its length; without one, shards that no version names "
              + "go off the end alone, as --shards \(shard.ordinal)-\(all.count - 1)")
        }
        try database.run(
          "UPDATE shard SET dropped_row_count = ?, last_error = NULL, changed_at = ? WHERE id = ?",
          [length, now, shard.id])
      }
      for shard in removed { try LakeCatalog.delete(shard.id, database) }
      var dropped = DroppedShards()
      (dropped.removed, dropped.tombstones) = (removed.map(\.name), kept.map(\.name))
      var detail: [String: JSONValue] = ["shards": .count(first)]
      if !removed.isEmpty { detail["dropped"] = .strings(dropped.removed) }
      if !kept.isEmpty { detail["tombstones"] = .strings(dropped.tombstones) }
      try LakeCatalog.record(.sourceShards, source.name, detail, database)
      return dropped
    }
  }

  /// Takes shards back that were dropped and left a tombstone.
  ///
  /// - Parameters:
  ///   - ordinals: Which; one that was not dropped is passed over.
  ///   - source: The source.
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` `.usage` when an ordinal is out of range.
  package func takeBackShards(_ ordinals: OrdinalSet, of source: Source) throws -> [String] {
    let chosen = try shards(of: source, ordinals: ordinals).filter(\.isDropped)
    guard !chosen.isEmpty else { return [] }
    try write("take shards back") { database in
      for shard in chosen {
        try database.run(
          "UPDATE shard SET dropped_row_count = NULL, changed_at = ? WHERE id = ?", [Timestamp.now(), shard.id])
      }
      let count = try Int.fetchOne(
        database, sql: "SELECT count(*) FROM shard WHERE source_id = ?", arguments: [source.id])
      try LakeCatalog.record(
        .sourceShards, source.name,
        ["shards": .count(count ?? 0), "taken_back": .array(chosen.map { .string($0.name) })], database)
    }
    return chosen.map(\.name)
  }

  /// Dropped shards whose bytes are in the lake, for nobody else, since before a time.
  ///
  /// None whose bytes are the last copy of what another shard had on which something rests.
  func droppedPresent(until cutoff: String) throws -> [Shard] {
    try read { database in
      let shards = try Shard.fetchAll(
        database,
        sql: Shard.select + """
           WHERE h.dropped_row_count IS NOT NULL AND h.state = 'present' AND h.changed_at <= ?
            AND NOT EXISTS (SELECT 1 FROM shard_revision o JOIN shard k ON k.id = o.shard_id
              AND k.current_revision = o.revision AND k.state = 'present' AND k.dropped_row_count IS NULL
              WHERE o.sha256 = r.sha256)
          ORDER BY s.name, h.ordinal
          """, arguments: [cutoff])
      // They go one after the other: of several with the same bytes the last one stays.
      var going: Set<Int64> = []
      return try shards.filter { shard in
        guard try LakeCatalog.dependents(onLastCopyOf: shard.id, besides: going, database).isEmpty else { return false }
        going.insert(shard.id)
        return true
      }
    }
  }

  /// Whether somebody has a shard's bytes or a place for it.
  private static func isReferredTo(_ shardID: Int64, _ database: Database) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = ?1)
          OR EXISTS (SELECT 1 FROM version_input i WHERE i.shard_id = ?1)
        """, arguments: [shardID]) ?? true
  }

  /// Refuses to drop a shard on which something rests.
  private static func requireUnneeded(_ shard: Shard, _ database: Database) throws {
    let versions = try Row.fetchAll(
      database,
      sql: """
        SELECT DISTINCT v.name || '@' || v.number AS version, v.state IN ('planned', 'building') AS is_unfinished
        FROM version_input i JOIN index_version v ON v.id = i.version_id
        WHERE i.shard_id = ? AND (v.state IN ('planned', 'building')
          OR (i.is_hole = 0 AND (v.state = 'sealed' OR \(IndexVersion.isPinned))))
        ORDER BY v.name, v.number
        """, arguments: [shard.id])
    let trained = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT t.name FROM trained_input i JOIN trained_index t ON t.id = i.trained_index_id
        WHERE i.shard_id = ? ORDER BY t.name
        """, arguments: [shard.id])
    let dependents = versions.map { $0["version"] as String } + trained.map(dependent)
    guard !dependents.isEmpty else { return }
    let unfinished = versions.first { $0["is_unfinished"] }.map { $0["version"] as String }
    throw TarnError(
      .conflict, "\(shard.name) of \(shard.sourceName) is not dropped: \(list(dependents)) on it",
      hint: unfinished.map { "finish \($0) with `tarn build`, or `tarn abandon \($0)`" }
        ?? "`tarn build --shards` leaves it out of other versions; where no mirror has it any more, "
        + "`tarn sync \(shard.sourceName) --missing skip` passes over it")
  }
}
