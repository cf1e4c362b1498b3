// What an output executor works with in a lake: shards from `shards/`, segments
// in `artifacts/`, each recorded when its file is durable.

internal import Base
internal import Catalog
internal import Indexer
internal import Tasks

/// The shards of a version, as far as their pinned bytes are in the lake.
struct LakeShards: ShardProvider {
  private let catalog: LakeCatalog
  private let source: Source
  /// The shard of each input, by its place in the plan.
  private let shardIDs: [Int: Int64]

  init(_ catalog: LakeCatalog, _ source: Source, inputs: [VersionInput]) {
    self.catalog = catalog
    self.source = source
    shardIDs = Dictionary(uniqueKeysWithValues: inputs.map { ($0.ordinal, $0.shardID) })
  }

  func shard(of input: OutputTask.Input) throws -> PinnedShard {
    guard let id = shardIDs[input.ordinal] else { preconditionFailure("an input of another version") }
    guard let digest = input.digest, let path = try catalog.shardPath(holding: digest) else {
      let isNewest = try catalog.shard(id: id).revision?.digest == input.digest
      var wayBack: String?
      if !isNewest {
        wayBack = Source.wayBack(to: source.name)
      } else if try !catalog.hasPlace(ofShard: id) {
        wayBack = Source.wayBack(toWhatNobodyHas: source.name)
      }
      throw source.missing([input.name], of: 1, hint: wayBack)
    }
    return source.pinned(path, digest: digest, rowCount: input.rowCount, in: catalog)
  }
}

/// Segments as artifacts, found by every version with the same trained index
/// and bytes.
struct LakeSegments: SegmentKeeper {
  private let catalog: LakeCatalog
  private let store: ArtifactStore
  private let trained: ContentDigest
  private let badRows: BadRowsPolicy
  /// The array of the shards' files; nil where they have one.
  private let array: String?
  /// Whether a segment is read and hashed before it is believed.
  private let verifies: Bool

  init(_ catalog: LakeCatalog, _ terms: EncodingTerms, verifies: Bool = false) {
    self.catalog = catalog
    store = ArtifactStore(catalog)
    trained = terms.trainedDigest
    badRows = terms.badRows
    array = terms.array
    self.verifies = verifies
  }

  func segment(ofShard digest: ContentDigest) throws -> String? {
    let known = try catalog.segment(
      trained: trained, shard: digest, array: array, badRows: badRows, formatVersion: segmentFormatVersion)
    guard let known else { return nil }
    if verifies { return try? store.verified(.segment, known.digest) }
    guard let artifact = try catalog.artifact(known.digest),
      try store.size(of: .segment, known.digest) == artifact.byteCount
    else { return nil }
    return try store.path(of: .segment, known.digest)
  }

  func workingPath(ofShard digest: ContentDigest) throws -> String {
    let rows = array.map { "-\(ContentDigest.of($0).prefix(8))" } ?? ""
    return try store.workingPath("segment-\(digest.prefix(16))\(rows)-\(trained.prefix(16))")
  }

  func keep(_ made: ShardEncoder.Result, ofShard digest: ContentDigest, at workingPath: String) throws -> String {
    try store.put(workingPath, as: .segment, made.segment.digest) {
      try catalog.recordSegment(
        SegmentRecord(
          trainedDigest: trained, shardDigest: digest, array: array, badRowsPolicy: badRows,
          formatVersion: segmentFormatVersion, digest: made.segment.digest, rowCount: made.segment.rowCount,
          badRowCount: made.badRowCount),
        byteCount: made.segment.byteCount)
    }
    return try store.path(of: .segment, made.segment.digest)
  }
}

extension RefineShard {
  /// What was written.
  init(_ summary: RefineSummary) { self.init(digest: summary.digest, byteCount: summary.byteCount) }
}

extension Source {
  /// A shard of this source with the bytes of a revision.
  ///
  /// - Parameters:
  ///   - path: File below the shards directory.
  ///   - revision: The revision it must be.
  ///   - catalog: Knows where the shards directory is.
  /// - Returns: What a task needs to open it.
  func pinned(_ path: String, _ revision: ShardRevision, in catalog: LakeCatalog) -> PinnedShard {
    pinned(path, digest: revision.digest, rowCount: revision.rowCount, in: catalog)
  }

  fileprivate func pinned(
    _ path: String, digest: ContentDigest, rowCount: Int, in catalog: LakeCatalog
  ) -> PinnedShard {
    PinnedShard(
      path: catalog.layout.path(path, in: .shards), digest: digest, rowCount: rowCount, dimension: dimension,
      elementType: elementType, array: array, remedy: "run `tarn sync \(name)`")
  }

  /// The error that shards of this source are not in the lake.
  ///
  /// - Parameters:
  ///   - shards: Their names.
  ///   - total: How many are needed.
  ///   - hint: What can help; nil for a sync.
  /// - Returns: The error.
  func missing(_ shards: [String], of total: Int, hint: String? = nil) -> TarnError {
    let names = shards.prefix(3).joined(separator: ", ") + (shards.count > 3 ? ", …" : "")
    return TarnError(
      .inputsMissing, "\(shards.count) of \(total) shards of source \(name) are not in the lake: \(names)",
      hint: hint ?? "run `tarn sync \(name)`")
  }

  /// What brings bytes back that were replaced.
  static func wayBack(to source: String) -> String {
    "other bytes took their place: `tarn import \(source) FILE --keep-old` takes a copy of the old ones in"
  }

  /// What brings bytes back that no mirror is known to have.
  static func wayBack(toWhatNobodyHas source: String) -> String {
    "no mirror is known to have the bytes: `tarn import \(source) FILE` takes a copy in"
  }

  /// What brings bytes back that no mirror gave; to ask the same ones again leads nowhere.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - code: How the fetch of the one shard failed: `.absent`, or `.integrity` for other bytes.
  /// - Returns: The advice, one line.
  static func wayBack(to source: String, after code: TarnError.Code) -> String {
    (code == .absent ? "no mirror has it" : "no mirror gives the pinned bytes")
      + ": `tarn import \(source) FILE --keep-old` takes a copy in"
  }
}

extension OutputTask {
  /// The task of one output of a version.
  ///
  /// - Parameters:
  ///   - ordinal: Number of the output.
  ///   - inputs: The inputs of the whole version, in order.
  init(_ ordinal: Int, of inputs: [VersionInput]) {
    self.init(ordinal: ordinal, inputs: inputs.filter { $0.outputOrdinal == ordinal }.map(Input.init))
  }
}

extension OutputTask.Input {
  init(_ input: VersionInput) {
    self.init(
      ordinal: input.ordinal, name: input.shardName, digest: input.isHole ? nil : input.revision?.digest,
      firstID: input.firstID, rowCount: input.rowCount, excluded: input.excludedRows)
  }
}

extension LakeCatalog {
  /// What the outputs of a version are made with.
  func terms(of version: IndexVersion) throws -> EncodingTerms {
    let record = try trainedIndex(id: version.trainedIndexID)
    let digest = try record.finishedDigest()
    if try ArtifactStore(self).size(of: .trainedIndex, digest) == nil { try record.requireTraining(in: self) }
    return EncodingTerms(
      trained: try TrainedIndexFile.read(try ArtifactStore(self).path(of: .trainedIndex, digest), digest: digest),
      trainedDigest: digest, badRows: version.badRowsPolicy, normalisation: try record.specification().normalisation,
      array: try source(id: version.sourceID).array)
  }
}

extension TrainedIndexRecord {
  /// What its specification says.
  ///
  /// - Throws: ``TarnError`` `.usage` for what this tarn does not know.
  func specification() throws -> TrainingSpecification { try TrainingSpecification(parsing: spec) }

  /// The digest of its file.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` while its training is not finished.
  func finishedDigest() throws -> ContentDigest {
    guard let digest else {
      throw TarnError(
        .inputsMissing, "the trained index \(name) is not finished",
        hint: "run its `tarn train` again, which continues it")
    }
    return digest
  }
}
