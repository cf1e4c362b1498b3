// Sources that grow: shards behind the last one. Ordinals and ids of those that are
// there never move, and documents of versions sealed before name the shards of their
// time.

internal import Base
internal import GRDB

extension LakeCatalog {
  /// The addresses of a source on one of its mirrors, in the order of the shards; nil
  /// where a shard has none there.
  package func addresses(of source: Source, on mirror: Mirror) throws -> [String?] {
    try read {
      try Row.fetchAll(
        $0,
        sql: """
          SELECT l.url FROM shard h LEFT JOIN shard_location l ON l.shard_id = h.id AND l.mirror_id = ?
          WHERE h.source_id = ? ORDER BY h.ordinal
          """, arguments: [mirror.id, source.filesID]
      ).map { $0["url"] }
    }
  }

  /// What is known of a source on one of its mirrors, in the order of the shards; nil where a shard has no address there.
  package func locationStates(of source: Source, on mirror: Mirror) throws -> [LocationState?] {
    try read {
      try Row.fetchAll(
        $0,
        sql: """
          SELECT l.state FROM shard h LEFT JOIN shard_location l ON l.shard_id = h.id AND l.mirror_id = ?
          WHERE h.source_id = ? ORDER BY h.ordinal
          """, arguments: [mirror.id, source.filesID]
      ).map { row in (row["state"] as String?).flatMap { LocationState(rawValue: $0) } }
    }
  }

  /// Does the checks of ``extend(_:with:after:moved:listing:)``, and changes nothing.
  ///
  /// - Throws: ``TarnError`` `.usage`, `.conflict`, as that would.
  package func checkExtension(
    of source: Source, with shards: [SourceDefinition.Shard], after count: Int
  ) throws {
    guard !shards.isEmpty else { return }
    try read { database in
      let mirrorCount = try Int.fetchOne(
        database, sql: "SELECT count(*) FROM mirror WHERE source_id = ?", arguments: [source.id])
      try LakeCatalog.requireRoom(for: shards, after: count, of: source, mirrorCount: mirrorCount ?? 0, database)
    }
  }

  /// Refuses shards that cannot follow those that a source has.
  private static func requireRoom(
    for shards: [SourceDefinition.Shard], after count: Int, of source: Source, mirrorCount: Int, _ database: Database
  ) throws {
    let known = try Row.fetchAll(
      database, sql: "SELECT name, ordinal, dropped_row_count FROM shard WHERE source_id = ?",
      arguments: [source.id])
    guard known.count == count else {
      throw TarnError(
        .conflict, "\(source.name) has changed: it has \(known.count) shards", hint: "run the same command again")
    }
    var names = Set(known.map { $0["name"] as String })
    for shard in shards {
      guard names.insert(shard.name).inserted else {
        if let dropped = known.first(where: { $0["name"] == shard.name && $0["dropped_row_count"] as Int? != nil }) {
          throw TarnError(
            .conflict, "\(shard.name.printable) of \(source.name) was dropped and keeps its place",
            hint:
              "`tarn source drop-shards \(source.name) --shards \(dropped["ordinal"] as Int) --undo` takes it back; "
              + "--shard-names gives the new ones other names")
        }
        throw TarnError(
          .conflict, "\(source.name) has a shard named \(shard.name.printable) already",
          hint: "give the new ones other names with --shard-names")
      }
      precondition(shard.urls.count == mirrorCount, "an address for each mirror")
      try shard.checkNumbers(of: source.name)
    }
    guard ForeignNumber.ordinal.holds(count + shards.count - 1) else {
      throw TarnError(.usage, "\(source.name) would have \(count + shards.count) shards, more than a source can have")
    }
    let before = try Int.fetchAll(
      database,
      sql: "SELECT expected_byte_count FROM shard WHERE source_id = ? AND expected_byte_count IS NOT NULL",
      arguments: [source.id])
    let sizes = before + shards.compactMap(\.expectedByteCount)
    guard sizes.saturatedSum <= ForeignNumber.mostBytesOfASource else {
      throw TarnError(
        .usage, "the sizes of source \(source.name) come to more bytes than any storage has",
        hint: "correct the list of sizes")
    }
  }

  /// Registers shards behind the last one of a source, and what a listing says of others:
  /// the one way by which a source that is there gets either.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - shards: The new ones, in order, each with an address for every mirror.
  ///   - count: How many shards the source had when these were chosen.
  ///   - moved: Shards that have another address, or other bytes there.
  ///   - listing: The listing that tells all this; nil for none, or one that is recorded.
  /// - Throws: ``TarnError`` `.usage`, `.conflict`; then nothing has changed.
  package func extend(
    _ source: Source, with shards: [SourceDefinition.Shard], after count: Int, moved: [ShardMove] = [],
    listing: SourceListing? = nil
  ) throws {
    guard !shards.isEmpty || !moved.isEmpty || listing != nil else { return }
    try write("extend source") { database in
      let mirrors = try Int64.fetchAll(
        database, sql: "SELECT id FROM mirror WHERE source_id = ? ORDER BY priority", arguments: [source.id])
      try LakeCatalog.requireRoom(for: shards, after: count, of: source, mirrorCount: mirrors.count, database)
      let now = Timestamp.now()
      try LakeCatalog.apply(moved, to: source, at: now, database)
      try listing?.insert(of: source.id, at: now, database)
      for (number, shard) in shards.enumerated() {
        _ = try Shard.insert(
          of: source.id, ordinal: count + number, name: shard.name, expectedByteCount: shard.expectedByteCount,
          expectedDigest: shard.expectedDigest, expectedRowCount: shard.expectedRowCount, urls: shard.urls,
          on: mirrors, at: now, database)
      }
      try LakeCatalog.record(
        .sourceShards, source.name,
        ["shards": .count(count + shards.count), "added": .array(shards.map { .string($0.name) })]
          .merging(moved.isEmpty ? [:] : ["moved": .array(moved.map { .string($0.name) })]) { $1 }
          .merging(LakeCatalog.detail(of: listing)) { $1 }, database)
      try LakeCatalog.leaveTombstones(shards, of: source, count: count + shards.count, database)
    }
  }
}
