// `reproduce`: the outputs of a version, made again from its pinned inputs in a
// directory of their own, and compared. The lake gets one row and nothing else.

package import Base
package import Catalog
internal import Foundation
internal import Indexer
package import Logging
internal import Tasks

/// What a rebuild found.
package struct ReproductionReport: Sendable {
  /// Where the first difference is.
  package struct Difference: Sendable {
    package let output: Int
    /// The first list whose pairs of id and code differ; nil when the lists
    /// agree and only the layout differs.
    package let list: Int?
    /// The first row id in that list that differs.
    package let rowID: Int64?
  }

  package let outcome: ReproductionOutcome
  package let outputCount: Int
  package let byteCount: Int
  package let difference: Difference?
  /// Names of the inputs that are not in the lake.
  package let missing: [String]
  /// What was compared, and what was not.
  package var verdict = StatementVerdict()
}

/// Rebuilds a version and compares.
package struct ReproductionRun {
  private let catalog: LakeCatalog
  private let version: IndexVersion
  private let environment: String
  private let logger: Logger
  private let cancellation: Cancellation
  private let report: (BuildProgress) -> Void

  /// Prepares a rebuild.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing: the outcome is recorded.
  ///   - name: The version, sealed.
  ///   - environment: Canonical JSON of the tool and the machine.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked often; what was rebuilt is removed.
  ///   - report: Told of progress, on the calling thread.
  /// - Throws: ``TarnError`` `.notFound`, ``TarnError`` `.usage` when the
  ///   version is not sealed.
  package init(
    _ catalog: LakeCatalog, _ name: VersionName, environment: String, logger: Logger,
    cancellation: Cancellation, report: @escaping (BuildProgress) -> Void
  ) throws {
    version = try catalog.version(name)
    guard version.state == .sealed || version.state == .revoked else {
      throw TarnError(
        .usage, "\(name) is \(version.state.rawValue), not sealed",
        hint: "finish it with the `tarn build` that began it")
    }
    self.catalog = catalog
    self.environment = environment
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
  }

  /// Names of the pinned inputs whose bytes are not in the lake.
  package func missingInputs() throws -> [String] {
    try catalog.inputs(of: version).filter { !$0.isHole && $0.path == nil }.map { input in
      "\(input.shardName) (sha256 \(input.revision?.digest.prefix(12) ?? "?"))"
    }
  }

  /// Rebuilds every output and compares it with the recorded one.
  ///
  /// - Parameter wanted: Where the rebuilt outputs go and stay, empty or new; nil for
  ///   scratch space that is emptied afterwards.
  /// - Returns: What was found; it is recorded too.
  /// - Throws: ``TarnError``.
  package func run(into wanted: String?) throws -> ReproductionReport {
    cancellation.listen()
    // What is rebuilt is what the catalog says; so that must be what was sealed.
    var verdict = try catalog.requireBorneOut(version)
    let directory = try wanted.map {
      try OutputPlace.emptyDirectory($0, besides: catalog.layout, option: "--into")
    }
    let startedAt = Timestamp.now()
    let missing = try missingInputs()
    let outputs = try catalog.outputs(of: version)
    var found =
      missing.isEmpty
      ? try rebuild(outputs, into: directory, &verdict)
      : ReproductionReport(
        outcome: .inputsMissing, outputCount: outputs.count, byteCount: 0, difference: nil, missing: missing)
    let detail: [String: JSONValue] = [
      "missing": .array(found.missing.map { .string($0) }), "outputs": .count(found.outputCount),
      "output": found.difference.map { .count($0.output) } ?? .null,
      "list": found.difference?.list.map { .count($0) } ?? .null,
      "row_id": found.difference?.rowID.map { .integer($0) } ?? .null,
    ]
    try catalog.recordReproduction(
      of: version, startedAt: startedAt, outcome: found.outcome, detail: JSONValue.object(detail).text,
      environment: environment)
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    verdict.leaveOut(
      "training of \(trained.name)", because: "it is taken as it was trained; `tarn reproduce --from` trains again")
    found.verdict = verdict
    return found
  }

  private func rebuild(
    _ outputs: [OutputShard], into directory: String?, _ verdict: inout StatementVerdict
  ) throws -> ReproductionReport {
    verdict.check("the rebuilt outputs against the lock file")
    let work = directory ?? "\(catalog.layout.scratch)/reproduce-\(version.name)"
    if directory == nil { try? FileManager.default.removeItem(atPath: work) }
    let sizes = OutputSizes(try catalog.trainedIndex(id: version.trainedIndexID))
    let working = outputs.map { output in sizes.segment(rowCount: output.rowCount) + output.byteCount }
    // One output at a time, with its segments; with --into the outputs stay.
    let most = (working.max() ?? 0) + (directory == nil ? 0 : outputs.reduce(0) { $0 + $1.byteCount })
    try catalog.requireRoom(for: "the rebuilt \(version.name)", [RoomNeed(at: work, byteCount: most)])
    let shardCounts = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal).mapValues(\.count)
    try OpenFiles.require(shardCounts.values.max() ?? 0, hint: "rebuild it where more files may be open")
    try Disk.makeDirectory(work)
    defer { if directory == nil { try? FileManager.default.removeItem(atPath: work) } }
    let inputs = try catalog.inputs(of: version)
    let rows = inputs.reduce(0) { $0 + ($1.isHole ? 0 : $1.rowCount) }
    let segments = ScratchSegments(directory: work)
    let executor = OutputExecutor(
      try catalog.terms(of: version),
      shards: LakeShards(catalog, try catalog.source(id: version.sourceID), inputs: inputs), segments: segments,
      rowCount: rows, cancellation: cancellation, logger: logger)
    var rowsDone = 0
    var byteCount = 0
    var outcome = ReproductionOutcome.identical
    var difference: ReproductionReport.Difference?
    for output in outputs {
      let task = OutputTask(output.ordinal, of: inputs)
      let name = catalog.layout.outputPath(version.name, ordinal: output.ordinal).lastPathPart
      let rebuilt = "\(work)/\(name)"
      let before = rowsDone
      let summary = try executor.run(task, to: rebuilt) { progress in
        switch progress {
        case .encoding(let input, let done):
          let earlier = task.bound.prefix { $0 != input }.reduce(0) { $0 + $1.rowCount }
          report(.encoding(shard: input.name, rowsDone: before + earlier + done, rows: rows))
        case .merging: report(.merging(output: output.ordinal, of: outputs.count))
        }
      }
      rowsDone += task.bound.reduce(0) { $0 + $1.rowCount }
      try segments.clear()
      byteCount += summary.byteCount
      let place = "outputs[\(output.ordinal)]"
      verdict.compare("\(place).rows", expected: String(output.rowCount), found: String(summary.rowCount))
      verdict.compare("\(place).bytes", expected: String(output.byteCount), found: String(summary.byteCount))
      verdict.compare(
        "\(place).lists_sha256", expected: output.listsDigest.hex, found: summary.listDigests.root.hex)
      verdict.compare("\(place).sha256", expected: output.digest.hex, found: summary.digest.hex)
      if summary.digest == output.digest, summary.listDigests.root != output.listsDigest {
        // The bytes are right, so what was sealed of their lists never was.
        outcome = .differs
        difference = difference ?? .init(output: output.ordinal, list: nil, rowID: nil)
      }
      if summary.digest != output.digest {
        let isSame = summary.listDigests.root == output.listsDigest
        if !isSame || outcome == .identical { outcome = isSame ? .sameLists : .differs }
        if difference == nil || (difference?.list == nil && !isSame) {
          difference = try compare(output, rebuilt: rebuilt, summary)
        }
      }
      if directory == nil { try Disk.remove(rebuilt) }
      report(.finished(output: output.ordinal, of: outputs.count, byteCount: summary.byteCount))
    }
    return ReproductionReport(
      outcome: outcome, outputCount: outputs.count, byteCount: byteCount, difference: difference, missing: [])
  }

  /// The first list and row in which an output and its rebuilt form differ.
  private func compare(
    _ output: OutputShard, rebuilt: String, _ summary: OutputShardSummary
  ) throws -> ReproductionReport.Difference {
    let path = try ArtifactStore(catalog).path(of: .outputShard, output.digest)
    guard summary.listDigests.root != output.listsDigest, Disk.size(of: path) != nil else {
      return .init(output: output.ordinal, list: nil, rowID: nil)
    }
    let recorded = try OutputShardFile(path: path)
    let fresh = try OutputShardFile(path: rebuilt)
    for list in 0..<min(recorded.trained.nlist, fresh.trained.nlist) {
      let (old, new) = (try recorded.contents(ofList: list), try fresh.contents(ofList: list))
      guard old.ids != new.ids || old.codes != new.codes else { continue }
      let width = fresh.trained.quantizer.codeByteCount
      let row = zip(old.ids, new.ids).enumerated().first { index, ids in
        let codes = (index * width)..<((index + 1) * width)
        return ids.0 != ids.1 || old.codes[codes] != new.codes[codes]
      }
      return .init(output: output.ordinal, list: list, rowID: row?.element.0 ?? old.ids.last ?? new.ids.last)
    }
    return .init(output: output.ordinal, list: nil, rowID: nil)
  }
}
