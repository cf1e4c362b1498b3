// The mirrors of a source, added, removed and put in another order after it was
// registered. Each change is an event: documents of versions sealed before name the
// mirrors of their time.

internal import Base
internal import GRDB

/// A row of `mirror`, and what came from it.
package struct Mirror: Sendable {
  package let id: Int64
  /// Its place: 0 is asked first.
  package let priority: Int
  package let template: String
  package let isReconstructed: Bool
  /// Whether a document or a list brought its addresses, which are not followed inside.
  package let isOfDocument: Bool
  /// Shard revisions whose bytes it served.
  package let revisionCount: Int
}

extension LakeCatalog {
  /// The mirrors of a source, the first first.
  package func mirrors(of source: Source) throws -> [Mirror] {
    try read { try LakeCatalog.mirrors(of: source, $0) }
  }

  private static func mirrors(of source: Source, _ database: Database) throws -> [Mirror] {
    try Row.fetchAll(
      database,
      sql: """
        SELECT m.*, (SELECT count(*) FROM shard_revision r WHERE r.mirror_id = m.id) AS revisions FROM mirror m
        WHERE m.source_id = ? ORDER BY m.priority
        """, arguments: [source.filesID]
    ).map { row in
      Mirror(
        id: row["id"], priority: row["priority"], template: row["template"],
        isReconstructed: row["provenance"] == "reconstructed", isOfDocument: row["is_of_document"],
        revisionCount: row["revisions"])
    }
  }

  /// Adds a mirror behind the others of its kind: what was made again is asked last.
  ///
  /// - Parameters:
  ///   - template: Its template.
  ///   - urls: For each shard of the source, in order, its address there.
  ///   - isReconstructed: Whether it serves files that somebody made again.
  ///   - keptQuery: Further query items that the user knows to be harmless.
  ///   - source: The source.
  /// - Returns: Its place; nil when the source has it already.
  /// - Throws: ``TarnError`` `.conflict`.
  package func addMirror(
    _ template: String, urls: [String], isReconstructed: Bool, keptQuery: Set<String> = [], to source: Source
  ) throws -> Int? {
    try write("add mirror") { database in
      var mirrors = try LakeCatalog.mirrors(of: source, database)
      if let known = mirrors.first(where: { $0.template == template }) {
        guard known.isReconstructed == isReconstructed else {
          throw TarnError(
            .conflict,
            "\(source.name) has that mirror already, \(known.isReconstructed ? "with" : "without") --reconstructed",
            hint: "remove it first: `tarn source mirror remove \(source.name) \(known.priority)`")
        }
        return nil
      }
      try requireEveryAddress(of: source, database)
      let shards = try Int64.fetchAll(
        database, sql: "SELECT id FROM shard WHERE source_id = ? ORDER BY ordinal", arguments: [source.filesID])
      precondition(shards.count == urls.count, "an address for each shard")
      let id = try MirrorRow.insert(
        of: source.id, priority: (mirrors.last?.priority ?? -1) + 1, template: template,
        isReconstructed: isReconstructed, at: Timestamp.now(), database)
      for (shard, url) in zip(shards, urls) { try ShardLocation.insert(of: shard, on: id, url: url, database) }
      let place = isReconstructed ? mirrors.count : mirrors.firstIndex(where: \.isReconstructed) ?? mirrors.count
      mirrors.insert(
        Mirror(
          id: id, priority: place, template: template, isReconstructed: isReconstructed, isOfDocument: false,
          revisionCount: 0),
        at: place)
      let kept = source.keptQuery.union(keptQuery)
      if kept != source.keptQuery {
        try database.run("UPDATE source SET kept_query = ? WHERE id = ?", [Source.text(ofKept: kept), source.id])
      }
      try LakeCatalog.settle(mirrors, of: source, ["added": .string(template)], database)
      return place
    }
  }

  /// Removes a mirror that no recorded bytes came from.
  ///
  /// - Parameters:
  ///   - place: Its place.
  ///   - source: The source.
  /// - Returns: Its template.
  /// - Throws: ``TarnError`` `.notFound`, `.conflict`.
  package func removeMirror(_ place: Int, of source: Source) throws -> String {
    try write("remove mirror") { database in
      var mirrors = try LakeCatalog.mirrors(of: source, database)
      let mirror = try LakeCatalog.mirror(place, of: source, mirrors)
      guard mirrors.count > 1 else {
        throw TarnError(
          .conflict, "\(source.name) has one mirror, and a source needs one",
          hint: "add the other one first: `tarn source mirror add \(source.name) TEMPLATE`")
      }
      guard mirror.revisionCount == 0 else {
        throw TarnError(
          .conflict,
          "mirror \(place) of \(source.name) is kept: the bytes of \(mirror.revisionCount) shards were recorded from it",
          hint: "`tarn source mirror order \(source.name) …` with \(place) at the end has it asked last")
      }
      try requireEveryAddress(of: source, database)
      // As documents have them, so that one that names them can be held against it.
      let addresses = try String.fetchAll(
        database,
        sql: """
          SELECT l.url FROM shard_location l JOIN shard h ON h.id = l.shard_id WHERE l.mirror_id = ? ORDER BY h.ordinal
          """, arguments: [mirror.id]
      ).map { AddressText($0).redacted(keeping: source.keptQuery) }
      try database.run("DELETE FROM shard_location WHERE mirror_id = ?", [mirror.id])
      try database.run("DELETE FROM transfer WHERE mirror_id = ?", [mirror.id])
      let attemptCount = database.changesCount
      try database.run("DELETE FROM mirror WHERE id = ?", [mirror.id])
      mirrors.removeAll { $0.id == mirror.id }
      try LakeCatalog.settle(
        mirrors, of: source,
        [
          "removed": .string(mirror.template), "attempts": .count(attemptCount),
          "addresses_sha256": .string(VersionExport.Source.digest(ofAddresses: addresses)),
        ], database)
      return mirror.template
    }
  }

  /// Puts the mirrors of a source in another order.
  ///
  /// - Parameters:
  ///   - places: Their places now, in the order in which they are to be asked.
  ///   - source: The source.
  /// - Returns: Whether that changed anything.
  /// - Throws: ``TarnError`` `.usage`, `.notFound`, `.conflict`.
  package func orderMirrors(_ places: [Int], of source: Source) throws -> Bool {
    try write("order mirrors") { database in
      let mirrors = try LakeCatalog.mirrors(of: source, database)
      let ordered = try places.map { try LakeCatalog.mirror($0, of: source, mirrors) }
      guard Set(ordered.map(\.id)).count == mirrors.count, ordered.count == mirrors.count else {
        throw TarnError(
          .usage, "\(source.name) has \(mirrors.count) mirrors, and each is named once",
          hint: "e.g. \(mirrors.map { String($0.priority) }.reversed().joined(separator: " "))")
      }
      guard ordered.map(\.id) != mirrors.map(\.id) else { return false }
      try requireEveryAddress(of: source, database)
      try LakeCatalog.settle(ordered, of: source, [:], database)
      return true
    }
  }

  private static func mirror(_ place: Int, of source: Source, _ mirrors: [Mirror]) throws -> Mirror {
    guard let found = mirrors.first(where: { $0.priority == place }) else {
      throw TarnError(
        .notFound, "\(source.name) has no mirror \(place)",
        hint: "they are 0 to \(mirrors.count - 1); `tarn source mirror list \(source.name)` shows them")
    }
    return found
  }

  /// Numbers mirrors anew, in this order, and records it.
  private static func settle(
    _ mirrors: [Mirror], of source: Source, _ detail: [String: JSONValue], _ database: Database
  ) throws {
    // No two have one place, not even for a moment: by way of places nobody has.
    let free = mirrors.count + (mirrors.map(\.priority).max() ?? 0) + 1
    for offset in [free, 0] {
      for (place, mirror) in mirrors.enumerated() {
        try database.run("UPDATE mirror SET priority = ? WHERE id = ?", [offset + place, mirror.id])
      }
    }
    let list = JSONValue.array(mirrors.map { .string($0.template) })
    try record(.sourceMirrors, source.name, detail.merging(["mirrors": list]) { $1 }, database)
  }

  /// Refuses to change the mirrors of a source of which a sealed version's document
  /// could then not be told from a wrong one: a shard of it has no address on some.
  private func requireEveryAddress(of source: Source, _ database: Database) throws {
    let isWhole = try Bool.fetchOne(
      database,
      sql: """
        SELECT (SELECT count(*) FROM shard WHERE source_id = ?1) * (SELECT count(*) FROM mirror WHERE source_id = ?1)
          = (SELECT count(*) FROM shard_location l JOIN mirror m ON m.id = l.mirror_id WHERE m.source_id = ?1)
        """, arguments: [source.filesID])
    guard isWhole != true, let version = try LakeCatalog.documented(by: source, database).first else { return }
    throw TarnError(
      .conflict,
      "the mirrors of \(source.name) stay as they are: its shards are not on each of them, and the document of "
        + "\(version) says which are where", hint: "register the other mirror under a source of its own")
  }
}
