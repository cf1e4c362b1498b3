// Sources, their mirrors and their shards as registered.

package import Base
internal import GRDB

/// A source to register.
package struct SourceDefinition: Sendable {
  /// One shard to register: its name and what is known of its bytes.
  package struct Shard: Sendable {
    package let name: String
    /// One URL per mirror, in the order of the mirrors.
    package let urls: [String]
    package let expectedByteCount: Int?
    package let expectedDigest: ContentDigest?
    package let expectedRowCount: Int?
    /// Whether it is a tombstone, of the rows that are expected.
    package var isDropped = false

    package init(
      name: String, urls: [String], expectedByteCount: Int? = nil, expectedDigest: ContentDigest? = nil,
      expectedRowCount: Int? = nil
    ) {
      self.expectedRowCount = expectedRowCount
      self.name = name
      self.urls = urls
      self.expectedByteCount = expectedByteCount
      self.expectedDigest = expectedDigest
    }
  }

  package let name: String
  package let modality: Modality
  package let dimension: Int
  package let elementType: ElementType
  /// URL templates, or where a list came from, in order of priority.
  package let mirrors: [String]
  /// Which of the mirrors, by their place, serve files that somebody made again:
  /// of the same size, not of the same bytes.
  package var reconstructed: Set<Int> = []
  /// Which of the mirrors, by their place, have addresses that a document or a list
  /// brought, which are not followed inside.
  package var ofDocuments: Set<Int> = []
  /// Names of query items that the user knows to be harmless, lower case.
  package var keptQuery: Set<String> = []
  package let shards: [Shard]
  /// Where the names came from; nil for a template or a directory.
  package var listing: SourceListing?
  /// The array of the files that it reads; nil where they have one.
  package var array: String?
  /// Name of the source whose files it reads; then it has no mirrors and shards of its own.
  package var filesOf: String?
  /// The source beside whose rows it stands; nil for one of features.
  package var companionOf: Source?

  /// A companion of a source.
  package init(name: String, companionOf owner: Source, mirrors: [String], shards: [Shard]) {
    self.init(name: name, modality: .other, dimension: 1, elementType: .uint8, mirrors: mirrors, shards: shards)
    companionOf = owner
  }

  package init(
    name: String, modality: Modality, dimension: Int, elementType: ElementType, mirrors: [String], shards: [Shard]
  ) {
    self.name = name
    self.modality = modality
    self.dimension = dimension
    self.elementType = elementType
    self.mirrors = mirrors
    self.shards = shards
  }
}

extension SourceDefinition {
  /// Refuses what cannot be registered, whatever the catalog has.
  ///
  /// - Throws: ``TarnError`` `.usage`.
  fileprivate func check() throws {
    try LakeCatalog.validate(name: name, of: "source")
    guard !shards.isEmpty || filesOf != nil else {
      throw TarnError(.usage, "source \(name) would have no shards")
    }
    if let array { try LakeCatalog.validate(array: array) }
    var names: Set<String> = []
    for shard in shards where !names.insert(shard.name).inserted {
      throw TarnError(
        .usage, "two shards of source \(name) would be called \(shard.name)",
        hint: "give each shard its own file name, with {ordinal:04} in the URL or with --shard-names")
    }
    for shard in shards { try shard.checkNumbers(of: name) }
    guard shards.lazy.compactMap(\.expectedByteCount).saturatedSum <= ForeignNumber.mostBytesOfASource else {
      throw TarnError(
        .usage, "the sizes of source \(name) come to more bytes than any storage has",
        hint: "correct the list of sizes")
    }
  }
}

extension SourceDefinition.Shard {
  /// Refuses a size or a number of rows that no file has.
  ///
  /// - Parameter source: Name of the source, for the message.
  /// - Throws: ``TarnError`` as ``ForeignNumber``.
  func checkNumbers(of source: String) throws {
    let place = "shard \(name.printable) of source \(source)"
    if let size = expectedByteCount { try ForeignNumber.byteCount.check(size, "a number of bytes", in: place) }
    if let rows = expectedRowCount { try ForeignNumber.rowCount.check(rows, "a number of rows", in: place) }
  }
}

extension LakeCatalog {
  /// Checks a name people give to a source, a trained index or a version.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - thing: What it names, for the message.
  /// - Throws: ``TarnError`` `.usage`.
  package static func validate(name: String, of thing: String) throws {
    let isSource = thing == "source"
    guard LakeName.isValid(name, isSource: isSource) else {
      throw TarnError(
        .usage, "'\(name.printable)' cannot name a \(thing)",
        hint: "use up to 64 letters, digits, '.', '_' and '-', not starting with '.' or '-'"
          + (isSource ? ", without '..'" : ""))
    }
  }

  /// Registers a source with all its mirrors and shards.
  ///
  /// - Parameter definition: The source; its names must be valid and distinct.
  /// - Returns: The registered source.
  /// - Throws: ``TarnError`` `.conflict` when the name is taken, `.usage`.
  package func addSource(_ definition: SourceDefinition) throws -> Source {
    try definition.check()
    let now = Timestamp.now()
    return try write("add source") { database in
      let taken = try Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM source WHERE name = ?)", arguments: [definition.name])
      guard taken != true else {
        throw TarnError(
          .conflict, "there is a source named \(definition.name) already",
          hint: "choose another name; `tarn source show \(definition.name)` describes the one there is")
      }
      let owner = try definition.filesOf.map { try LakeCatalog.fileOwner(named: $0, database) }
      let source = try Source.insert(
        name: definition.name, modality: definition.modality, dimension: definition.dimension,
        elementType: definition.elementType, keptQuery: definition.keptQuery, array: definition.array,
        filesOf: owner?.id, companionOf: definition.companionOf?.id, at: now, database)
      let mirrorIDs = try definition.mirrors.enumerated().map { priority, template in
        try MirrorRow.insert(
          of: source.id, priority: priority, template: template,
          isReconstructed: definition.reconstructed.contains(priority),
          isOfDocument: definition.ofDocuments.contains(priority), at: now, database)
      }
      for (ordinal, shard) in definition.shards.enumerated() {
        _ = try Shard.insert(
          of: source.id, ordinal: ordinal, name: shard.name, expectedByteCount: shard.expectedByteCount,
          expectedDigest: shard.expectedDigest, expectedRowCount: shard.expectedRowCount, urls: shard.urls,
          on: mirrorIDs, at: now, database)
      }
      try definition.listing?.insert(of: source.id, at: now, database)
      try LakeCatalog.record(
        .sourceAdd, definition.name,
        source.detail(shardCount: definition.shards.count, mirrors: definition.mirrors, filesOf: owner?.name)
          .merging(LakeCatalog.detail(of: definition.listing)) { $1 }
          .merging(definition.companionOf.map { ["companion_of": .string($0.name)] } ?? [:]) { $1 }, database)
      try LakeCatalog.leaveTombstones(definition.shards, of: source, count: definition.shards.count, database)
      return source
    }
  }

  /// Makes tombstones of those of new shards that are to be such, and says so in the history.
  static func leaveTombstones(
    _ shards: [SourceDefinition.Shard], of source: Source, count: Int, _ database: Database
  ) throws {
    let dropped = shards.filter { $0.isDropped && $0.expectedRowCount != nil }
    guard !dropped.isEmpty else { return }
    for shard in dropped {
      try database.run(
        "UPDATE shard SET dropped_row_count = expected_row_count WHERE source_id = ? AND name = ?",
        [source.id, shard.name])
    }
    try LakeCatalog.record(
      .sourceShards, source.name,
      ["shards": .count(count), "tombstones": .array(dropped.map { .string($0.name) })], database)
  }

  /// Takes the user's word that the addresses of a source are meant, wherever they
  /// lead.
  package func trustAddresses(of source: Source) throws {
    try write("trust") { try $0.run("UPDATE mirror SET is_of_document = 0 WHERE source_id = ?", [source.filesID]) }
  }

  /// Every source, by name.
  package func sources() throws -> [Source] {
    try read { try Source.fetchAll($0, sql: "SELECT * FROM source ORDER BY name") }
  }

  /// A source by its name.
  ///
  /// - Parameter name: The source's name.
  /// - Returns: The source.
  /// - Throws: ``TarnError`` `.notFound`.
  package func source(named name: String) throws -> Source {
    let found = try read { try Source.fetchOne($0, sql: "SELECT * FROM source WHERE name = ?", arguments: [name]) }
    guard let found else {
      throw TarnError(
        .notFound, "there is no source named '\(name.printable)'",
        hint: try near(name, "SELECT name FROM source") ?? "`tarn source list` names them; `tarn source add` makes one")
    }
    return found
  }

  /// A source by its number.
  package func source(id: Int64) throws -> Source {
    let found = try read { try Source.fetchOne($0, sql: "SELECT * FROM source WHERE id = ?", arguments: [id]) }
    guard let found else { throw TarnError(.notFound, "there is no source number \(id)") }
    return found
  }

  /// The shards of a source, in order.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - ordinals: Which of them; nil for all.
  /// - Returns: The shards, ascending by ordinal.
  /// - Throws: ``TarnError`` `.usage` when an ordinal is out of range.
  package func shards(of source: Source, ordinals: OrdinalSet? = nil) throws -> [Shard] {
    let all = try read {
      try Shard.fetchAll(
        $0, sql: Shard.select + " WHERE h.source_id = ? ORDER BY h.ordinal", arguments: [source.filesID])
    }
    guard let ordinals else { return all }
    if let last = ordinals.last, last >= all.count {
      throw TarnError(
        .usage, "source \(source.name) has no shard \(last)", hint: "its shards are 0-\(all.count - 1)")
    }
    return all.filter { ordinals.contains($0.ordinal) }
  }

  /// The shards of a source, by number.
  package func shardsByID(of source: Source) throws -> [Int64: Shard] {
    try Dictionary(uniqueKeysWithValues: shards(of: source).map { ($0.id, $0) })
  }

  /// The shards of a source at some places.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - places: Their ordinals; those that no shard has are passed over.
  /// - Returns: The shards, in order.
  /// - Throws: ``TarnError``.
  package func shards(of source: Source, at places: Set<Int>) throws -> [Shard] {
    try read {
      try Shard.fetchAll(
        $0,
        sql: Shard.select
          + " WHERE h.source_id = ? AND h.ordinal IN (SELECT value FROM json_each(?)) ORDER BY h.ordinal",
        arguments: [source.filesID, LakeCatalog.jsonList(of: places)])
    }
  }

  /// The shards of a source that something is to be done with: all but the dropped.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - ordinals: Which of them; nil for all. A range passes over what was dropped.
  /// - Returns: The shards, ascending by ordinal.
  /// - Throws: ``TarnError`` `.usage` when an ordinal is out of range, or all that were
  ///   named are dropped.
  package func shardsInUse(of source: Source, ordinals: OrdinalSet? = nil) throws -> [Shard] {
    let chosen = try shards(of: source, ordinals: ordinals)
    let used = chosen.filter { !$0.isDropped }
    if let first = chosen.first, used.isEmpty { throw TarnError.dropped(first, andOthers: chosen.count - 1) }
    return used
  }

  /// A shard by its number.
  package func shard(id: Int64) throws -> Shard {
    let found = try read { try Shard.fetchOne($0, sql: Shard.select + " WHERE h.id = ?", arguments: [id]) }
    guard let found else { throw TarnError(.notFound, "there is no shard number \(id)") }
    return found
  }

  /// The mirror that has an address of a shard.
  ///
  /// - Parameters:
  ///   - shardID: The shard.
  ///   - url: The address.
  /// - Returns: The mirror, of several the one that is asked first; nil when none has it.
  /// - Throws: ``TarnError``.
  package func mirrorID(ofShard shardID: Int64, at url: String) throws -> Int64? {
    try read {
      try $0.row(
        """
        SELECT l.mirror_id FROM shard_location l JOIN mirror m ON m.id = l.mirror_id
        WHERE l.shard_id = ? AND l.url = ? ORDER BY m.priority LIMIT 1
        """, [shardID, url])?["mirror_id"]
    }
  }

  /// Where a shard can be had, first mirror first.
  package func locations(of shardID: Int64) throws -> [ShardLocation] {
    try read {
      try ShardLocation.fetchAll(
        $0.cachedStatement(
          sql: """
            SELECT l.*, m.priority, m.is_of_document, l.state IN ('absent', 'faulty')
                AND coalesce(julianday(l.checked_at) + 1 > julianday('now'), 0) AS is_asked_last
            FROM shard_location l JOIN mirror m ON m.id = l.mirror_id
            WHERE l.shard_id = ? ORDER BY m.priority
            """), arguments: [shardID])
    }
  }
}

extension TarnError {
  /// What somebody is told who asks for shards that were dropped.
  package static func dropped(_ shard: Shard, andOthers count: Int = 0) -> TarnError {
    let others = count == 0 ? "" : " and \(count) more"
    return TarnError(
      .usage, "\(shard.name)\(others) of \(shard.sourceName) \(count == 0 ? "was" : "were") dropped",
      hint: "`tarn source drop-shards \(shard.sourceName) --shards \(shard.ordinal) --undo` takes it back")
  }
}
