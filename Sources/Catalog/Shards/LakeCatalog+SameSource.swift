// Whether a source that is to be registered is one that was: registering it twice
// does nothing, and of another one the field is named that differs.

internal import Base
internal import GRDB

extension LakeCatalog {
  /// The source that was registered with this definition before.
  ///
  /// - Parameter definition: A source.
  /// - Returns: Nil when no source has its name.
  /// - Throws: ``TarnError`` `.conflict` naming the first field in which the one of
  ///   that name differs.
  package func registered(_ definition: SourceDefinition) throws -> Source? {
    guard let known = try sources().first(where: { $0.name == definition.name }) else { return nil }
    if let difference = try difference(of: known, from: definition) {
      // Of its files a source reads one array for good.
      throw TarnError(
        .conflict, "there is another source named \(known.name): \(difference)",
        hint: known.array != definition.array
          ? "choose another name, or `tarn source remove \(known.name)` and add it again, as long as nothing was fetched"
          : "choose another name, or change that one: `tarn source extend`, `refresh`, `set`, `rename`, `mirror`, "
            + "`drop-shards`, `remove`")
    }
    return known
  }

  /// What sets a source apart from a definition, in words.
  private func difference(of known: Source, from definition: SourceDefinition) throws -> String? {
    func differs(_ field: String, _ there: String?, _ here: String?) -> String? {
      there == here ? nil : "its \(field) is \((there ?? "not known").printable), not \((here ?? "unsaid").printable)"
    }
    let (mirrors, shards) = (try mirrors(of: known), try shards(of: known))
    let owner = try fileSource(of: known).name
    let asked = try definition.filesOf.map { try fileOwner(named: $0).name }
    let kind =
      differs(
        "owner", try known.companionOf.map { try source(id: $0).name } ?? "none", definition.companionOf?.name ?? "none"
      )
      ?? differs("dimension", "\(known.dimension)", "\(definition.dimension)")
      ?? differs("dtype", known.elementType.rawValue, definition.elementType.rawValue)
      ?? differs("modality", known.modality.rawValue, definition.modality.rawValue)
      ?? differs("array", known.array, definition.array)
      ?? differs("source of files", owner == known.name ? nil : owner, asked)
    if let kind { return kind }
    // What its files are is the other's to say.
    if known.filesOf != nil { return nil }
    let rest =
      differs("number of shards", "\(shards.count)", "\(definition.shards.count)")
      ?? differs("number of mirrors", "\(mirrors.count)", "\(definition.mirrors.count)")
      ?? differs(
        "--keep-query", known.keptQuery.sorted().joined(separator: " "),
        definition.keptQuery.sorted().joined(separator: " "))
    if let rest { return rest }
    for (place, pair) in zip(mirrors, definition.mirrors).enumerated() {
      let words = [false: "original", true: "reconstructed"]
      let difference =
        differs("mirror \(place)", pair.0.template.withoutSecrets, pair.1.withoutSecrets)
        ?? differs(
          "provenance of mirror \(place)", words[pair.0.isReconstructed],
          words[definition.reconstructed.contains(place)])
      if let difference { return difference }
    }
    let places = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT l.shard_id, l.url, m.priority, m.is_of_document FROM shard_location l
          JOIN mirror m ON m.id = l.mirror_id WHERE m.source_id = ? ORDER BY m.priority
          """, arguments: [known.id])
    }
    let urls = places.reduce(into: [Int64: [String]]()) { $0[$1["shard_id"], default: []].append($1["url"]) }
    for (shard, other) in zip(shards, definition.shards) {
      let difference =
        differs("shard \(shard.ordinal)", shard.name, other.name)
        ?? differs(
          "address of \(shard.name)", (urls[shard.id] ?? []).map(\.withoutSecrets).joined(separator: " "),
          other.urls.map(\.withoutSecrets).joined(separator: " "))
        ?? differs(
          "size of \(shard.name)", shard.expectedByteCount.map(String.init), other.expectedByteCount.map(String.init))
        ?? differs("SHA-256 of \(shard.name)", shard.expectedDigest?.hex, other.expectedDigest?.hex)
        ?? differs(
          "rows of \(shard.name)", shard.expectedRowCount.map(String.init), other.expectedRowCount.map(String.init))
      if let difference { return difference }
    }
    let brought = Set(places.filter { $0["is_of_document"] }.map { $0["priority"] as Int })
    return differs(
      "--allow-inside", brought.isEmpty ? "set" : "unset", definition.ofDocuments.isEmpty ? "set" : "unset")
  }
}
