// Documents of versions whose sources got, lost or reordered mirrors, or got shards,
// since: their addresses are held against those that the history says were in force, and
// their shards against the first ones, as many as there were.

internal import Base
internal import GRDB

extension LakeCatalog {
  /// What the history says of all sources.
  func sourceHistory() throws -> SourceHistory {
    try read { database in
      var history = SourceHistory()
      let verbs = SourceHistory.verbs.map { "'\($0.rawValue)'" }.joined(separator: ", ")
      let events = try Row.fetchCursor(
        database, sql: "SELECT seq, verb, subject, detail FROM event WHERE verb IN (\(verbs)) ORDER BY seq")
      while let event = try events.next() {
        guard let verb = EventVerb(rawValue: event["verb"]) else { continue }
        history.take(event["seq"], verb, event["subject"], JSONValue(parsing: event["detail"]) ?? .null)
      }
      return history
    }
  }

  /// Whether a document says of a version what the catalog does, with the addresses
  /// of the time when it was written.
  ///
  /// - Parameters:
  ///   - document: A document of the version.
  ///   - own: What the catalog says now.
  ///   - version: The version.
  /// - Returns: Whether they are the same.
  /// - Throws: ``TarnError``, what the encoder throws.
  package func isSame(_ document: VersionExport, as own: VersionExport, of version: IndexVersion) throws -> Bool {
    let own = try self.own(own, withPlacesOf: document, of: version)
    return try own.comparable(places: true) == document.comparable(places: true)
  }

  /// What the catalog would have said of a version when a document was written.
  ///
  /// - Parameters:
  ///   - own: What it says now.
  ///   - document: The document, of which nothing is believed.
  ///   - version: The version.
  /// - Returns: The same with the mirrors that the document names, where its source
  ///   had them at the sealing or later, and their addresses, and with as many shards,
  ///   likewise.
  /// - Throws: ``TarnError``.
  func own(
    _ own: VersionExport, withPlacesOf document: VersionExport, of version: IndexVersion
  ) throws -> VersionExport {
    let isOfNow = zip(own.sources, document.sources).allSatisfy {
      $0.mirrors == $1.mirrors && $0.shards.count == $1.shards.count
    }
    guard !isOfNow else { return own }
    let history = try sourceHistory()
    let sealedAt = try sealedEventNumber(of: version) ?? (version.versionDigest == nil ? .max : 0)
    var result = own
    result.sources = try zip(own.sources, document.sources).map { mine, its in
      let files = try fileSource(of: source(named: mine.name))
      let kept = files.keptQuery
      let told = history.told[files.name] ?? SourceHistory.Told(isWhole: false)
      return mine.with(shardsOf: its, told, since: sealedAt)
        .with(its, told.redacted { AddressText($0).redacted(keeping: kept) }, since: sealedAt)
    }
    return result
  }

  private func sealedEventNumber(of version: IndexVersion) throws -> Int? {
    try read {
      try Int.fetchOne(
        $0, sql: "SELECT max(seq) FROM event WHERE subject = ? AND verb = 'sealed'", arguments: ["\(version.name)"])
    }
  }
}

extension SourceHistory.Told {
  /// The same with templates as documents have them.
  fileprivate func redacted(_ redact: (String) -> String) -> SourceHistory.Told {
    var result = self
    result.mirrors = mirrors.map { ($0.since, $0.templates.map(redact)) }
    result.removed = Dictionary(removed.map { (redact($0.key), $0.value) }, uniquingKeysWith: { first, _ in first })
    return result
  }
}

extension VersionExport.Source {
  /// Digest of a mirror's addresses, as documents have them: a line each, in order.
  static func digest(ofAddresses urls: [String]) -> String {
    ContentDigest.of(urls.map { $0 + "\n" }.joined()).hex
  }

  /// The source with other mirrors and shards.
  private func with(mirrors: [String], shards: [Shard]) -> VersionExport.Source {
    VersionExport.Source(
      name: name, modality: modality, dimension: dimension, dtype: dtype, array: array, filesOf: filesOf,
      mirrors: mirrors, shards: shards)
  }

  /// The addresses on one of its mirrors, in the order of the shards.
  private func addresses(on mirror: Int) -> [String?] {
    shards.map { $0.urls.count == mirrors.count ? $0.urls[mirror] : nil }
  }

  /// The source with the first of its shards, as many as a document names, if it had
  /// as many.
  fileprivate func with(
    shardsOf document: VersionExport.Source, _ told: SourceHistory.Told, since number: Int
  ) -> VersionExport.Source {
    guard document.shards.count < shards.count, told.had(document.shards.count, since: number) else { return self }
    return with(mirrors: mirrors, shards: Array(shards.prefix(document.shards.count)))
  }

  /// The source with the mirrors of a document, if it had them.
  fileprivate func with(
    _ document: VersionExport.Source, _ told: SourceHistory.Told, since number: Int
  ) -> VersionExport.Source {
    guard document.mirrors != mirrors, document.shards.count == shards.count,
      told.had(document.mirrors, since: number, current: mirrors)
    else { return self }
    let columns = document.mirrors.enumerated().map { place, template -> [String?] in
      if let own = mirrors.firstIndex(of: template) { return addresses(on: own) }
      // What a mirror's addresses were is proved by the digest that its removal left.
      let its = document.addresses(on: place)
      let isProved = told.removed[template] == VersionExport.Source.digest(ofAddresses: its.compactMap(\.self))
      return isProved ? its : its.map { _ in nil }
    }
    return with(
      mirrors: document.mirrors,
      shards: shards.enumerated().map { ordinal, shard in
        Shard(
          name: shard.name, urls: columns.compactMap { $0[ordinal] }, bytes: shard.bytes, sha256: shard.sha256,
          rows: shard.rows, trainedOn: shard.trainedOn, dropped: shard.dropped)
      })
  }
}
