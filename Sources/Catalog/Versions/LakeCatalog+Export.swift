// A version as one document: all that somebody needs to make it again
// elsewhere and to tell that it is the same. And what sets two versions apart.

package import Base
internal import Foundation
internal import GRDB

/// Everything that determines a sealed version, and what it came to.
package struct VersionExport: Codable, Sendable, Equatable {
  package static let format = "tarn-export-1"
  /// Of a document with a shard that is dropped, or one whose training was on other
  /// bytes than its build.
  package static let secondFormat = "tarn-export-2"
  /// Of a document with a source that reads an array of its files.
  package static let thirdFormat = "tarn-export-3"
  /// Of a document of a version with codes that refine.
  package static let fourthFormat = "tarn-export-4"

  /// A source with where its shards are.
  package struct Source: Codable, Sendable, Equatable {
    /// What a shard held.
    package struct Bytes: Codable, Sendable, Equatable {
      package let bytes: Int
      package let sha256: ContentDigest
    }

    package struct Shard: Codable, Sendable, Equatable {
      package let name: String
      package let urls: [String]
      /// Size and digest of the pinned bytes; the size alone, when it is known,
      /// of a shard that the version does not hold.
      package let bytes: Int?
      package let sha256: ContentDigest?
      /// Rows of a shard that the version does not hold, when they are known.
      package let rows: Int?
      /// What the training took of a shard that was built from others; nil where that is
      /// the same, as it mostly is.
      package var trainedOn: Bytes?

      /// What the version pins of the shard, the training's first.
      package var pinned: [Bytes] {
        let built = sha256.flatMap { digest in bytes.map { Bytes(bytes: $0, sha256: digest) } }
        return [trainedOn, built].compactMap(\.self)
      }
      /// Digest of what the training took, where it took the shard.
      package var trainedDigest: ContentDigest? { trainedOn?.sha256 ?? sha256 }
      /// Said of a shard that is dropped, with the rows that its ids stand for; nil, and
      /// absent from the text, of all others.
      package var dropped: Bool?
    }

    package let name: String
    package let modality: String
    package let dimension: Int
    package let dtype: String
    /// The array of its files that it reads; nil, and absent from the text, where they have
    /// one.
    package let array: String?
    /// The source of the document whose files it reads, too; nil, and absent, of all others.
    package let filesOf: String?
    package let mirrors: [String]
    package let shards: [Shard]
  }

  package struct Trained: Codable, Sendable, Equatable {
    package let name: String
    package let method: String
    package let codec: String
    package let nlist: Int
    package let iterations: Int
    package let seed: Int64
    package let pairs: Int
    package let images: String
    package let captions: String?
    /// Canonical JSON of all that determines its bytes, the inputs included.
    package let spec: String
    package let sha256: ContentDigest
  }

  package struct Input: Codable, Sendable, Equatable {
    /// The shard's place in the source.
    package let ordinal: Int
    package let shard: String
    /// Nil in a hole.
    package let sha256: ContentDigest?
    package let bytes: Int?
    package let firstId: Int64
    package let rows: Int
    package let output: Int
    /// Rows that the version does not have, ascending; nil, and absent from the text, where
    /// there are none.
    package var excluded: [Int]?
  }

  package struct Output: Codable, Sendable, Equatable {
    package let output: Int
    package let sha256: ContentDigest
    package let bytes: Int
    package let rows: Int
    package let listsSha256: ContentDigest
    /// The file of codes that refine it; nil, and absent from the text, without.
    package var refine: Source.Bytes?
  }

  package let format: String
  package let version: String
  package let versionSha256: ContentDigest
  /// The image source first.
  package internal(set) var sources: [Source]
  /// The sources, those first that have the files of others.
  package var sourcesByFiles: [Source] { sources.filter { $0.filesOf == nil } + sources.filter { $0.filesOf != nil } }
  package let trained: Trained
  package let source: String
  package let spec: String
  package let shardsPerOutput: Int
  package let missing: String
  package let badRows: String
  package let inputs: [Input]
  package let outputs: [Output]

  /// Whether the version was adopted: its inputs are files that FAISS wrote, and what those were
  /// made from is unknown.
  package var isAdopted: Bool { sources.first?.modality == Modality.index.rawValue }

  /// The document's text: JSON, keys sorted.
  ///
  /// - Parameter isOneLine: For programs; else indented, for people.
  /// - Returns: The text, without a line end.
  /// - Throws: What the encoder throws.
  package func text(isOneLine: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting =
      isOneLine ? [.sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }

  /// Reads a document.
  ///
  /// What an export does not say is refused, as it would be a statement that
  /// nobody checks; the order of members and white space are free.
  ///
  /// - Parameter path: Its file.
  /// - Throws: ``TarnError`` `.usage` for anything but an export;
  ///   `.inputsMissing` without the file, `.io`.
  package init(reading path: String) throws {
    try self.init(reading: Disk.contents(of: path), of: path)
  }

  /// Reads a document that is in memory; see ``init(reading:)``.
  ///
  /// - Parameters:
  ///   - bytes: The document.
  ///   - path: Where it is from, for messages.
  /// - Throws: ``TarnError`` `.usage`.
  package init(reading bytes: [UInt8], of path: String) throws {
    let found: JSONValue
    do {
      found = try JSONValue(reading: bytes)
    } catch {
      throw TarnError(
        .usage, "\(path) is not the export of a version: \(error.message) (byte \(error.offset))",
        hint: "`tarn export NAME@N > FILE` writes one")
    }
    if let format = found["format"]?.string,
      ![VersionExport.format, VersionExport.secondFormat, VersionExport.thirdFormat, VersionExport.fourthFormat]
        .contains(
          format)
    {
      throw TarnError(.schemaNewer, "\(path) has format '\(format.printable)'", hint: "use a newer tarn")
    }
    do {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      self = try decoder.decode(VersionExport.self, from: Data(found.text.utf8))
    } catch {
      throw TarnError(
        .usage, "\(path) is not the export of a version\(VersionExport.place(of: error))",
        hint: "`tarn export NAME@N > FILE` writes one")
    }
    var verdict = StatementVerdict()
    verdict.compare("", expected: try json(), found: found)
    verdict.compare("format", expected: VersionExport.format(of: sources, outputs), found: format)
    guard verdict.isClean else {
      throw TarnError(
        .usage, "\(path) says what no export says: \(verdict.message)", hint: "`tarn export NAME@N > FILE` writes one")
    }
    try checkNumbers(in: path)
  }

  /// The format of a document with these sources and outputs.
  static func format(of sources: [Source], _ outputs: [Output]) -> String {
    if outputs.contains(where: { $0.refine != nil }) { return fourthFormat }
    if sources.contains(where: { $0.array != nil }) { return thirdFormat }
    return sources.contains { $0.shards.contains { $0.trainedOn != nil || $0.dropped != nil } } ? secondFormat : format
  }

  /// The document as JSON.
  func json() throws -> JSONValue {
    guard let value = JSONValue(parsing: try text(isOneLine: true)) else {
      preconditionFailure("an encoder wrote what is no JSON")
    }
    return value
  }

  /// Where a decoder failed, for a message.
  private static func place(of error: any Error) -> String {
    let path: [any CodingKey]
    switch error {
    case DecodingError.keyNotFound(let key, let context): path = context.codingPath + [key]
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
      DecodingError.dataCorrupted(let context):
      path = context.codingPath
    default: path = []
    }
    let text = path.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }.joined()
    return text.isEmpty ? "" : ": \(text.drop { $0 == "." }.printable) is missing or of another kind"
  }

  fileprivate init(
    _ version: IndexVersion, digest: ContentDigest, sources: [Source], trained: Trained, inputs: [Input],
    outputs: [Output]
  ) {
    format = VersionExport.format(of: sources, outputs)
    self.version = "\(version.sealedName)"
    versionSha256 = digest
    self.sources = sources
    self.trained = trained
    source = sources.first?.name ?? ""
    spec = version.spec
    shardsPerOutput = version.shardsPerOutput
    missing = version.missingPolicy.rawValue
    badRows = version.badRowsPolicy.rawValue
    self.inputs = inputs
    self.outputs = outputs
  }
}

extension LakeCatalog {
  /// A sealed version as a document that an empty lake can reproduce.
  ///
  /// - Parameter name: The version, sealed or revoked.
  /// - Returns: The document.
  /// - Throws: ``TarnError`` `.notFound`; `.conflict` when it is unfinished;
  ///   `.integrity` when the catalog contradicts what was sealed.
  package func export(_ name: VersionName) throws -> VersionExport {
    let version = try version(name)
    guard let digest = version.versionDigest else {
      throw TarnError(.conflict, "\(name) is \(version.state.rawValue), not sealed", hint: version.state.wayToSealed)
    }
    let document = try export(version, digest: digest)
    let verdict = document.verdict(segmentFormats: try segmentFormats(of: version))
    guard verdict.isClean else {
      throw TarnError(
        .integrity, "the catalog no longer says what \(name) was sealed with: \(verdict.message)",
        hint: "`tarn verify` names every difference; restore a backup of the catalog")
    }
    return document
  }

  /// A version as a document, before or after it is sealed.
  ///
  /// - Parameters:
  ///   - version: A version with all its outputs recorded.
  ///   - digest: Digest of its lock file.
  /// - Returns: The document, as the catalog tells it.
  /// - Throws: ``TarnError`` `.conflict` when its training is not finished.
  package func export(_ version: IndexVersion, digest: ContentDigest) throws -> VersionExport {
    let trained = try trainedIndex(id: version.trainedIndexID)
    guard let trainedDigest = trained.digest else {
      throw TarnError(.conflict, "the trained index \(trained.name) is not ready", hint: "finish its training first")
    }
    let inputs = try inputs(of: version)
    var built: [Int64: ShardRevision] = [:]
    for input in inputs { if let revision = input.revision { built[input.shardID] = revision } }
    let taken = Dictionary(
      try trainedInputs(of: trained).map { ($0.shardID, $0) }, uniquingKeysWith: { first, _ in first })
    var sourceIDs = [version.sourceID]
    for id in [trained.imageSourceID, trained.captionSourceID].compactMap(\.self) where !sourceIDs.contains(id) {
      sourceIDs.append(id)
    }
    // Of sources that read the same files one has them: that which has them here, if it is
    // among them.
    let used = try sourceIDs.map { try source(id: $0) }
    let owners = Dictionary(grouping: used, by: \.filesID).mapValues { readers in
      readers.first { $0.filesOf == nil } ?? readers[0]
    }
    return VersionExport(
      version, digest: digest,
      sources: try used.map { source in
        let owner = owners[source.filesID].flatMap { $0.id == source.id ? nil : $0.name }
        return try exported(source, filesOf: owner, source.id == version.sourceID ? built : [:], taken)
      },
      trained: VersionExport.Trained(
        name: trained.name, method: trained.method, codec: trained.codec, nlist: trained.nlist,
        iterations: trained.iterations, seed: trained.seed, pairs: trained.pairCount,
        images: try source(id: trained.imageSourceID).name,
        captions: try trained.captionSourceID.map { try source(id: $0).name }, spec: trained.spec, sha256: trainedDigest
      ),
      inputs: inputs.map { input in
        VersionExport.Input(
          ordinal: input.shardOrdinal, shard: input.shardName, sha256: input.revision?.digest,
          bytes: input.revision?.byteCount, firstId: input.firstID, rows: input.rowCount, output: input.outputOrdinal,
          excluded: input.excludedRows.isEmpty ? nil : input.excludedRows)
      },
      outputs: try outputs(of: version).map { output in
        VersionExport.Output(
          output: output.ordinal, sha256: output.digest, bytes: output.byteCount, rows: output.rowCount,
          listsSha256: output.listsDigest,
          refine: output.refine.map { .init(bytes: $0.byteCount, sha256: $0.digest) })
      })
  }

  /// A source as a document has it.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - owner: The source of the document whose files it reads; nil for its own.
  ///   - built: What was built from, by the shard's number.
  ///   - taken: What was trained on, likewise.
  /// - Returns: The source.
  /// - Throws: ``TarnError``.
  private func exported(
    _ source: Source, filesOf owner: String?, _ built: [Int64: ShardRevision], _ taken: [Int64: ShardRevision]
  ) throws -> VersionExport.Source {
    let kept = try fileSource(of: source).keptQuery
    let (mirrors, urls) = try read { database in
      (
        try String.fetchAll(
          database, sql: "SELECT template FROM mirror WHERE source_id = ? ORDER BY priority",
          arguments: [source.filesID]),
        try Row.fetchAll(
          database,
          sql: """
            SELECT l.shard_id, l.url FROM shard_location l JOIN mirror m ON m.id = l.mirror_id
            WHERE m.source_id = ? ORDER BY m.priority
            """, arguments: [source.filesID]
        ).reduce(into: [Int64: [String]]()) { $0[$1["shard_id"], default: []].append($1["url"]) }
      )
    }
    return VersionExport.Source(
      name: source.name, modality: source.modality.rawValue, dimension: source.dimension,
      dtype: source.elementType.rawValue, array: source.array, filesOf: owner,
      mirrors: mirrors.map { AddressText($0).redacted(keeping: kept) },
      shards: try shards(of: source).map { shard in
        let pinned = built[shard.id] ?? taken[shard.id]
        let other = taken[shard.id].flatMap { $0.digest == pinned?.digest ? nil : $0 }
        return VersionExport.Source.Shard(
          name: shard.name, urls: (urls[shard.id] ?? []).map { AddressText($0).redacted(keeping: kept) },
          bytes: pinned?.byteCount ?? shard.revision?.byteCount ?? shard.expectedByteCount,
          sha256: pinned?.digest, rows: pinned == nil ? shard.knownRowCount : nil,
          trainedOn: other.map { .init(bytes: $0.byteCount, sha256: $0.digest) },
          dropped: pinned == nil && shard.isDropped ? true : nil)
      })
  }

  /// The revisions that a trained index was made from.
  private func trainedInputs(of trained: TrainedIndexRecord) throws -> [ShardRevision] {
    try read {
      try ShardRevision.fetchAll(
        $0,
        sql: """
          SELECT r.* FROM trained_input i JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
          WHERE i.trained_index_id = ? ORDER BY i.role, i.ordinal
          """, arguments: [trained.id])
    }
  }

  /// Registers a source of a document, or finds that it was registered before.
  ///
  /// - Parameters:
  ///   - exported: The source; one whose files it reads is registered before.
  ///   - document: Its document: of a shard of which versions took several contents, none is
  ///     the one to expect.
  ///   - rowCounts: Rows of its shards that are stated, by their place.
  ///   - kept: Names of query items that the user knows to be harmless.
  ///   - allowsInside: Whether its addresses may lead to this machine, its files and
  ///     its network.
  /// - Returns: The source in this lake.
  /// - Throws: ``TarnError`` `.conflict` when another one has its name.
  package func adopt(
    _ exported: VersionExport.Source, of document: VersionExport? = nil, rowCounts: [Int: Int] = [:],
    keeping kept: Set<String> = [],
    allowsInside: Bool = false
  ) throws -> Source {
    if let known = try sources().first(where: { $0.name == exported.name }) {
      let shards = try shards(of: known)
      let isSame =
        known.dimension == exported.dimension && known.elementType.rawValue == exported.dtype
        && known.array == exported.array && shards.map(\.name) == exported.shards.map(\.name)
        && zip(shards, exported.shards).enumerated().allSatisfy { ordinal, pair in
          pair.1.sha256 == nil
            || pair.0.expectedDigest == exported.pinned(ordinal, in: document).only?.sha256
        }
      guard isSame else {
        throw TarnError(
          .conflict, "this lake has another source named \(known.name)",
          hint: "reproduce in a new lake: `tarn init DIR`")
      }
      if allowsInside { try trustAddresses(of: known) }
      return known
    }
    // The document is somebody else's: nothing in it names a path outside the lake.
    try exported.check(keeping: kept)
    for url in exported.shards.flatMap(\.urls) where EnvironmentPlace.isIn(url) {
      // Whoever wrote it would choose which secret goes where.
      throw TarnError(
        .usage, "an address of source \(exported.name.printable) wants a variable of the environment: \(url.printable)",
        hint: "register that source with `tarn source add` first, with its --sha256, if its host may have the value")
    }
    let (modality, type) = try exported.kind()
    if let owner = exported.filesOf {
      var definition = SourceDefinition(
        name: exported.name, modality: modality, dimension: exported.dimension, elementType: type, mirrors: [],
        shards: [])
      (definition.array, definition.filesOf) = (exported.array, owner)
      return try addSource(definition)
    }
    // The end of a file with arrays tells its rows, and no mirror is asked for that.
    let pinnedRows = exported.array == nil ? [:] : document?.pinnedRowCounts ?? [:]
    var definition = SourceDefinition(
      name: exported.name, modality: modality, dimension: exported.dimension, elementType: type,
      mirrors: exported.mirrors,
      shards: exported.shards.enumerated().map { ordinal, shard in
        // Of two contents neither is the one to expect.
        let pinned = exported.pinned(ordinal, in: document)
        var result = SourceDefinition.Shard(
          name: shard.name, urls: shard.urls, expectedByteCount: exported.expectedByteCount(ordinal, pinned: pinned),
          expectedDigest: pinned.only?.sha256,
          expectedRowCount: pinned.isEmpty
            ? rowCounts[ordinal] ?? shard.rows : pinned.only.flatMap { pinnedRows[$0.sha256] })
        result.isDropped = shard.dropped == true
        return result
      })
    definition.keptQuery = kept
    definition.array = exported.array
    if !allowsInside { definition.ofDocuments = Set(exported.mirrors.indices) }
    return try addSource(definition)
  }
}

extension VersionExport.Source {
  /// What a document pins of a shard, through whichever source that reads its file, each
  /// content once.
  ///
  /// - Parameters:
  ///   - ordinal: The shard's place.
  ///   - document: The document of the source; nil for what the source itself says.
  /// - Returns: The contents; several where versions of a file took several.
  func pinned(_ ordinal: Int, in document: VersionExport?) -> [Bytes] {
    let owner = filesOf ?? name
    let readers = document?.sources.filter { ($0.filesOf ?? $0.name) == owner } ?? [self]
    var found: [Bytes] = []
    for reader in readers where reader.shards.indices.contains(ordinal) {
      for bytes in reader.shards[ordinal].pinned where !found.contains(bytes) { found.append(bytes) }
    }
    return found
  }

  /// The size to expect of a shard: that of all its contents, or what is said of one of which
  /// none is pinned.
  ///
  /// - Parameters:
  ///   - ordinal: The shard's place.
  ///   - pinned: What the document pins of it.
  /// - Returns: The size; nil where there is none to expect.
  func expectedByteCount(_ ordinal: Int, pinned: [Bytes]) -> Int? {
    guard !pinned.isEmpty else { return shards[ordinal].bytes }
    return Set(pinned.map(\.bytes)).only
  }
}

extension Collection {
  /// The element, where there is one alone.
  var only: Element? { count == 1 ? first : nil }
}
