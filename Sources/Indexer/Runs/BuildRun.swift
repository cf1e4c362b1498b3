// `build`: from a trained index and shards to a sealed version.
//
// Every step is keyed by the digests of what goes in, and recorded when its
// file is durable under its final name; so a step that is recorded is skipped,
// whatever run made it, and a killed build continues with the next one:
//   plan -> (encode shard -> segment)… -> merge -> read back -> output shard …
//   -> lock file -> seal

package import Catalog
internal import Foundation
package import Logging

/// What to build.
package struct BuildOptions: Sendable {
  package var name: String
  package var trained: String
  package var images: String
  /// Which shards; nil for all.
  package var ordinals: OrdinalSet?
  package var shardsPerOutput: Int
  package var missing: MissingPolicy
  package var badRows: BadRowsPolicy
  /// Canonical JSON of the tool and the machine, for the record.
  package var environment: String

  package init(
    name: String, trained: String, images: String, ordinals: OrdinalSet? = nil, shardsPerOutput: Int = 40,
    missing: MissingPolicy = .fail, badRows: BadRowsPolicy = .fail, environment: String
  ) {
    self.name = name
    self.trained = trained
    self.images = images
    self.ordinals = ordinals
    self.shardsPerOutput = shardsPerOutput
    self.missing = missing
    self.badRows = badRows
    self.environment = environment
  }
}

/// How far a build is.
package enum BuildProgress: Sendable {
  /// Rows of the plan encoded so far.
  case encoding(shard: String, rowsDone: Int, rows: Int)
  case merging(output: Int, of: Int)
  case finished(output: Int, of: Int, byteCount: Int)
}

/// Builds an index version from shards that are in the lake.
package struct BuildRun {
  private let catalog: LakeCatalog
  private let options: BuildOptions
  private let logger: Logger
  private let report: (BuildProgress) -> Void
  private let store: ArtifactStore

  /// Prepares a build.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to build.
  ///   - logger: Gets warnings.
  ///   - report: Told of progress, on the calling thread.
  package init(
    _ catalog: LakeCatalog, _ options: BuildOptions, logger: Logger, report: @escaping (BuildProgress) -> Void
  ) {
    self.catalog = catalog
    self.options = options
    self.logger = logger
    self.report = report
    store = ArtifactStore(catalog: catalog)
  }

  /// Builds the version, or finds that it was done before.
  ///
  /// - Returns: The sealed version, and whether this run sealed it.
  /// - Throws: ``IndexerError``, ``CatalogError``; what is done is kept.
  package func run() throws -> (version: IndexVersion, isNew: Bool) {
    try LakeCatalog.validate(name: options.name, of: "version")
    guard options.shardsPerOutput >= 1 else {
      throw IndexerError(.usage, "--shards-per-output is \(options.shardsPerOutput); it is at least 1")
    }
    let record = try catalog.trainedIndex(named: options.trained)
    guard let digest = record.digest else {
      throw IndexerError(
        .inputsMissing, "the trained index \(record.name) is not finished",
        hint: "run its `tarn train` again to continue")
    }
    let source = try catalog.source(named: options.images)
    guard source.dimension == record.dimension else {
      throw IndexerError(
        .usage,
        "\(source.name) has dimension \(source.dimension), the trained index \(record.name) has \(record.dimension)",
        hint: "build from the source of the model it was trained on")
    }
    let inputs = try VersionPlanner(catalog: catalog, options: options).inputs(of: source, trained: digest)
    let version = try catalog.planVersion(plan(record, digest, source, inputs))
    if version.state == .sealed {
      try VersionFiles(catalog: catalog).restoreNames(of: version)
      return (version, false)
    }
    let trained = try TrainedIndexFile.read(catalog.path(of: .trainedIndex, digest), digest: digest)
    let verified = try buildOutputs(of: version, source, record, trained, digest)
    try seal(version, record, verified: verified)
    return (try catalog.version(version.name), true)
  }

  private func plan(
    _ record: TrainedIndexRecord, _ digest: ContentDigest, _ source: Source, _ inputs: [VersionPlan.Input]
  ) -> VersionPlan {
    let spec: [String: JSONValue] = [
      "format": .integer(1), "trained": .string(digest.hex), "source": .string(source.name),
      "shards": .array(inputs.map { .integer($0.shardID) }), "shards_per_output": .count(options.shardsPerOutput),
      "missing": .string(options.missing.rawValue), "bad_rows": .string(options.badRows.rawValue),
    ]
    return VersionPlan(
      name: options.name, trained: record, source: source, shardsPerOutput: options.shardsPerOutput,
      missingPolicy: options.missing, badRowsPolicy: options.badRows, spec: JSONValue.object(spec).text,
      environment: options.environment, inputs: inputs)
  }

  /// Builds what is not recorded yet.
  ///
  /// - Returns: The outputs that this run read back.
  private func buildOutputs(
    of version: IndexVersion, _ source: Source, _ record: TrainedIndexRecord, _ trained: TrainedIndex,
    _ digest: ContentDigest
  ) throws -> Set<Int> {
    let inputs = try catalog.inputs(of: version)
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    let outputCount = (inputs.last?.outputOrdinal ?? -1) + 1
    let rows = inputs.reduce(0) { $0 + ($1.isHole ? 0 : $1.rowCount) }
    var rowsBefore = 0
    var encoder: ShardEncoder?
    var verified: Set<Int> = []
    for ordinal in 0..<outputCount {
      let members = inputs.filter { $0.outputOrdinal == ordinal }
      let present = members.filter { !$0.isHole }
      defer { rowsBefore += present.reduce(0) { $0 + $1.rowCount } }
      if done.contains(ordinal) { continue }
      var merge: [MergeInput] = []
      var offset = rowsBefore
      for input in present {
        guard let revision = input.revision else { preconditionFailure("an input without a hole has a revision") }
        let path = try segmentPath(digest, revision, version.badRowsPolicy) {
          guard let shardPath = input.path else { throw source.missing([input.shardName], of: inputs.count) }
          let file = try ShardReader(catalog: catalog).open(shardPath, revision: revision, source: source)
          let made = try encoder ?? shardEncoder(record, trained, digest, version.badRowsPolicy)
          encoder = made
          let working = try store.workingPath("segment-\(revision.digest.prefix(16))-\(digest.prefix(16))")
          let before = offset
          let result = try made.encode(file, digest: revision.digest, to: working) {
            report(.encoding(shard: input.shardName, rowsDone: before + $0, rows: rows))
          }
          return (working, result)
        }
        merge.append(MergeInput(segment: try SegmentFile(path: path), firstRowID: input.firstID))
        offset += input.rowCount
      }
      report(.merging(output: ordinal, of: outputCount))
      try mergeOutput(ordinal, of: version, members, merge, trained, digest)
      verified.insert(ordinal)
      let size = try catalog.outputs(of: version).last { $0.ordinal == ordinal }?.byteCount ?? 0
      report(.finished(output: ordinal, of: outputCount, byteCount: size))
    }
    return verified
  }

  private func shardEncoder(
    _ record: TrainedIndexRecord, _ trained: TrainedIndex, _ digest: ContentDigest, _ badRows: BadRowsPolicy
  ) throws -> ShardEncoder {
    try ShardEncoder(trained, digest: digest, badRows: badRows, normalisation: record.normalisation, logger: logger)
  }

  /// The segment of a shard, from the lake or made now.
  private func segmentPath(
    _ trained: ContentDigest, _ revision: ShardRevision, _ badRows: BadRowsPolicy,
    make: () throws -> (working: String, result: ShardEncoder.Result)
  ) throws -> String {
    let version = segmentFormatVersion
    if let known = try catalog.segment(
      trained: trained, shard: revision.digest, badRows: badRows, formatVersion: version)
    {
      let path = catalog.path(of: .segment, known.digest)
      if Disk.size(of: path) != nil { return path }
    }
    let (working, result) = try make()
    try store.adopt(working, as: .segment, result.segment.digest)
    try catalog.recordSegment(
      SegmentRecord(
        trainedDigest: trained, shardDigest: revision.digest, badRowsPolicy: badRows, formatVersion: version,
        digest: result.segment.digest, rowCount: result.segment.rowCount, badRowCount: result.badRowCount),
      byteCount: result.segment.byteCount)
    return catalog.path(of: .segment, result.segment.digest)
  }

  private func mergeOutput(
    _ ordinal: Int, of version: IndexVersion, _ members: [VersionInput], _ merge: [MergeInput],
    _ trained: TrainedIndex, _ digest: ContentDigest
  ) throws {
    guard let first = members.first, let last = members.last else { return }
    let working = try store.workingPath("output-\(version.id)-\(ordinal).faiss")
    let summary = try OutputShardMerge.write(
      merge, trained: trained, trainedDigest: digest, to: working, temporaryPath: working + ".tmp")
    try OutputShardFile.verify(working, trained: trained, summary: summary, idsIn: merge.map(\.ids))
    try store.adopt(working, as: .outputShard, summary.digest)
    try catalog.recordOutput(
      OutputShard(
        ordinal: ordinal, digest: summary.digest, firstInput: first.ordinal, lastInput: last.ordinal,
        firstID: first.firstID, endID: last.firstID + Int64(last.rowCount), rowCount: summary.rowCount,
        byteCount: summary.byteCount, listsDigest: summary.listDigests.root), of: version)
  }

  /// Seals the version once every output was read back and its lock file is
  /// durable beside the outputs.
  private func seal(_ version: IndexVersion, _ record: TrainedIndexRecord, verified: Set<Int>) throws {
    for output in try catalog.outputs(of: version) where !verified.contains(output.ordinal) {
      _ = try store.verified(.outputShard, output.digest)
    }
    let files = VersionFiles(catalog: catalog)
    try files.restoreNames(of: version)
    let lock = try files.lockFile(of: version, record)
    try Disk.writeAtomically(Array(lock.utf8), to: catalog.layout.lockFilePath(version.name))
    try catalog.seal(version, digest: .of(lock))
  }
}

/// The format of segments that this build writes; part of a segment's key.
let segmentFormatVersion = 1

extension TrainedIndexRecord {
  /// What training did about the length of rows, from its specification.
  var normalisation: Normalisation {
    spec.contains("\"normalisation\":\"normalise\"") ? .normalise : .refuse
  }
}
