// Files that FAISS wrote elsewhere and that something was adopted from: the shards of a source of
// a modality of its own. They are pinned by their digests like any input, and so named wherever
// inputs are; nothing fetches them or reads rows of them.

package import Base
internal import GRDB

/// A file that something was adopted from.
package struct AdoptedFile: Sendable {
  /// Its name, without its directory.
  package let name: String
  package let digest: ContentDigest
  package let byteCount: Int
  /// Rows that its ids span, or that its lists hold where nothing but the index's form was taken.
  package let rowCount: Int

  package init(name: String, digest: ContentDigest, byteCount: Int, rowCount: Int) {
    self.name = name
    self.digest = digest
    self.byteCount = byteCount
    self.rowCount = rowCount
  }
}

extension Source {
  /// Whether its shards are indexes that were adopted, and no features.
  package var isAdopted: Bool { modality == .index }

  /// Refuses files that were adopted where features are needed.
  ///
  /// - Throws: ``TarnError`` `.usage`.
  package func requireFeatures() throws {
    guard isAdopted else { return }
    throw TarnError(
      .usage, "\(name) names files that were adopted: they hold an index, no features",
      hint: "`tarn source list` names the sources; register the features with `tarn source add`")
  }
}

extension TrainedIndexRecord {
  /// How the catalog calls what was not trained here, and whose training nobody knows.
  package static let adoptedMethod = "adopted"

  /// Whether it was adopted from a file.
  package var isAdopted: Bool { method == Self.adoptedMethod }
}

extension LakeCatalog {
  /// Every source whose shards are features.
  package func featureSources() throws -> [Source] { try sources().filter { !$0.isAdopted } }

  /// The sources that a user names, or all that hold features.
  ///
  /// - Parameter names: Their names; none for all.
  /// - Returns: The sources.
  /// - Throws: ``TarnError`` `.notFound`; `.usage` for files that were adopted.
  package func featureSources(named names: [String]) throws -> [Source] {
    guard !names.isEmpty else { return try featureSources() }
    return try names.map { name in
      let source = try source(named: name)
      try source.requireFeatures()
      return source
    }
  }

  /// The name of the source of adopted files: their digests decide it, so that the same
  /// files are the same source in every lake.
  package static func sourceName(of files: [AdoptedFile]) -> String {
    "faiss-" + ContentDigest.of(files.map { "\($0.digest.hex) \($0.rowCount)\n" }.joined()).prefix(16)
  }

  /// Registers files that something is adopted from, or finds them.
  ///
  /// - Parameters:
  ///   - files: The files, in the order of their row ids.
  ///   - dimension: Components of a row.
  /// - Returns: Their source, and what is pinned of each, in order.
  /// - Throws: ``TarnError`` `.usage` for names that no shard has; `.conflict` when the
  ///   name of the source is another's.
  package func register(_ files: [AdoptedFile], dimension: Int) throws -> (source: Source, pinned: [ShardRevision]) {
    let name = Self.sourceName(of: files)
    var names: Set<String> = []
    for file in files where !names.insert(file.name).inserted {
      throw TarnError(
        .usage, "two files are called \(file.name.printable)", hint: "give each a name of its own; versions name them")
    }
    return try write("adopt") { database in
      if let known = try Source.fetchOne(database, sql: "SELECT * FROM source WHERE name = ?", arguments: [name]) {
        let pinned = try ShardRevision.fetchAll(
          database,
          sql: """
            SELECT r.* FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
            WHERE h.source_id = ? ORDER BY h.ordinal
            """, arguments: [known.id])
        guard known.isAdopted, known.dimension == dimension, pinned.map(\.digest) == files.map(\.digest) else {
          throw TarnError(
            .conflict, "this lake has another source named \(name)", hint: "rename it with `tarn source rename`")
        }
        return (known, pinned)
      }
      let now = Timestamp.now()
      let source = try Source.insert(
        name: name, modality: .index, dimension: dimension, elementType: .float32, at: now, database)
      var pinned: [ShardRevision] = []
      for (ordinal, file) in files.enumerated() {
        let id = try Shard.insert(
          of: source.id, ordinal: ordinal, name: file.name, expectedByteCount: file.byteCount,
          expectedDigest: file.digest, at: now, database)
        let revision = ShardRevision(
          shardID: id, number: 1, digest: file.digest, byteCount: file.byteCount, rowCount: file.rowCount, etag: nil,
          lastModified: nil, mirrorID: nil)
        try revision.insert(trust: .manifest, at: now, database)
        try Shard.settleAsEvicted(id, at: revision.number, database)
        pinned.append(revision)
      }
      try LakeCatalog.record(.sourceAdd, name, source.detail(shardCount: files.count, mirrors: []), database)
      return (source, pinned)
    }
  }

  /// The files that something was adopted from, in order, for a message: `a.index (sha256 …)`.
  package func adoptedFiles(of sourceID: Int64) throws -> [String] {
    try shards(of: source(id: sourceID)).map { shard in
      "\(shard.name) (sha256 \(shard.revision?.digest.hex ?? "?"))"
    }
  }
}
