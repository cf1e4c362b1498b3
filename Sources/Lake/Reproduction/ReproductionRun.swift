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
  /// Files of the outputs, and those that refine them.
  package let fileCount: Int
  /// Bytes of all of these.
  package let byteCount: Int
  package let difference: Difference?
  /// Names of the inputs that are not in the lake.
  package let missing: [String]
  /// What brings them back.
  package var wayBack: String?
  /// What was compared, and what was not.
  package var verdict = StatementVerdict()
}

/// Rebuilds a version and compares.
package struct ReproductionRun: Sendable {
  private let catalog: LakeCatalog
  private let version: IndexVersion
  private let environment: String
  private let logger: Logger
  private let cancellation: Cancellation
  private let report: @Sendable (BuildProgress) -> Void

  /// Prepares a rebuild.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing: the outcome is recorded.
  ///   - name: The version, sealed.
  ///   - environment: Canonical JSON of the tool and the machine.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked often; the next run goes on.
  ///   - report: Told of progress, on the rebuilding thread.
  /// - Throws: ``TarnError`` `.notFound`, ``TarnError`` `.usage` when the
  ///   version is not sealed.
  package init(
    _ catalog: LakeCatalog, _ name: VersionName, environment: String, logger: Logger,
    cancellation: Cancellation, report: @escaping @Sendable (BuildProgress) -> Void
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

  /// Rebuilds every output and compares it with the recorded one.
  ///
  /// - Parameters:
  ///   - wanted: Where the rebuilt outputs go and stay: empty, new, or where an earlier run was
  ///     interrupted; nil for scratch space that is emptied afterwards.
  ///   - fetch: How to fetch the pinned bytes that are not in the lake; nil for not at
  ///     all.
  ///   - follow: Told what the fetcher does, on its thread.
  /// - Returns: What was found; it is recorded too.
  /// - Throws: ``TarnError``.
  package func run(
    into wanted: String?, fetching fetch: SyncOptions?, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> ReproductionReport {
    cancellation.listen()
    let isAdopted = try catalog.source(id: version.sourceID).isAdopted
    let fetch = isAdopted ? nil : fetch?.takingAll
    let startedAt = Timestamp.now()
    // What is rebuilt is what the catalog says; so that must be what was sealed.
    let (begun, plan) = try await ThreadedWork("tarn-plan") { () throws -> (StatementVerdict, Plan) in
      (try catalog.requireBorneOut(version), try self.plan(into: wanted, fetches: fetch != nil))
    }.value()
    var verdict = begun
    var found = ReproductionReport(
      outcome: .inputsMissing, outputCount: plan.outputs.count, fileCount: 0, byteCount: 0, difference: nil,
      missing: plan.missing.map { input in
        "\(input.shardName) (sha256 \(input.revision?.digest.prefix(12) ?? "?")\(input.isNewest ? "" : ", replaced since"))"
      })
    if plan.missing.isEmpty {
      let rebuilt = try await plan.stream.run(
        catalog, fetching: fetch, thread: "tarn-rebuild", cancellation: cancellation, follow: follow
      ) { try rebuild(plan, $0) }
      found = conclude(plan.outputs, rebuilt, &verdict)
    } else {
      found.wayBack = try isAdopted ? Self.adoptedHint : wayBack(to: plan.missing)
    }
    let detail: [String: JSONValue] = [
      "missing": .strings(found.missing), "outputs": .count(found.outputCount),
      "output": found.difference.map { .count($0.output) } ?? .null,
      "list": .optionalCount(found.difference?.list),
      "row_id": found.difference?.rowID.map { .integer($0) } ?? .null,
    ]
    try catalog.recordReproduction(
      of: version, startedAt: startedAt, outcome: found.outcome, detail: JSONValue.object(detail).text,
      environment: environment)
    // Not before it is recorded: who is killed here rebuilds nothing anew.
    if plan.missing.isEmpty { plan.place.finish() }
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    verdict.leaveOut(
      "training of \(trained.name)", because: "it is taken as it was trained; `tarn reproduce --from` trains again")
    found.verdict = verdict
    return found
  }

  private static let adoptedHint =
    "what these files of FAISS were made from is unknown, as the version was adopted; `tarn verify` reads its outputs"

  /// What brings inputs back that are not in the lake.
  private func wayBack(to missing: [VersionInput]) throws -> String {
    let source = try catalog.source(id: version.sourceID).name
    // Some may be of each kind.
    let newest = missing.filter(\.isNewest)
    let placeCount = try newest.count { try catalog.hasPlace(ofShard: $0.shardID) }
    let ways = [
      placeCount > 0 ? "`tarn sync \(source)`, --fetch or --budget bring them" : nil,
      placeCount < newest.count ? Source.wayBack(toWhatNobodyHas: source) : nil,
      missing.contains { !$0.isNewest } ? Source.wayBack(to: source) : nil,
    ]
    return ways.compactMap(\.self).joined(separator: "; ")
  }

  /// A rebuild on its way.
  private struct Plan: Sendable {
    let inputs: [VersionInput]
    let outputs: [OutputShard]
    /// What an interrupted run rebuilt and compared.
    let done: [RebuiltOutput]
    /// Inputs that are needed and neither in the lake nor fetched: then there is no rebuild.
    let missing: [VersionInput]
    let place: RebuildPlace
    let segments: ScratchSegments
    let stream: ShardStream
  }

  private func plan(into wanted: String?, fetches: Bool) throws -> Plan {
    let (inputs, outputs) = (try catalog.inputs(of: version), try catalog.outputs(of: version))
    let place = try RebuildPlace(of: version, outputs, into: wanted, in: catalog.layout)
    let isContinued = place.isContinued
    let segments = ScratchSegments(directory: place.work, resumes: true)
    let done = place.done(outputs)
    let isDone = Set(done.map(\.ordinal))
    let shards = try catalog.shardsByID(of: catalog.source(id: version.sourceID))
    var (needed, spent): ([Shard], [Shard]) = ([], [])
    var digests: [Int64: ContentDigest] = [:]
    var ready: Set<Int64> = []
    var missing: [VersionInput] = []
    for input in inputs where !input.isHole {
      let shard = shards[input.shardID]
      let digest = input.revision?.digest
      let isEncoded = isContinued && digest.flatMap { segments.segment(ofShard: $0) } != nil
      if isDone.contains(input.outputOrdinal) || isEncoded {
        if let shard, shard.path != nil, input.isNewest, fetches { spent.append(shard) }
        continue
      }
      guard input.path != nil || fetches else {
        missing.append(input)
        continue
      }
      guard let shard, let digest else { continue }
      guard input.path != nil || shard.state != .present else {
        throw TarnError(
          .inputsMissing, "the lake has other bytes of \(shard.name) than \(version.name) pins",
          hint: Source.wayBack(to: shard.sourceName))
      }
      digests[shard.id] = digest
      if input.path != nil { ready.insert(shard.id) }
      needed.append(shard)
    }
    if missing.isEmpty {
      let parts = Set(inputs.lazy.filter { !$0.excludedRows.isEmpty }.map(\.outputOrdinal))
      try requireRoom(for: outputs.filter { !isDone.contains($0.ordinal) }, parts: parts, in: place)
      let shardCounts = Dictionary(grouping: inputs, by: \.outputOrdinal).mapValues(\.count)
      try OpenFiles.require(shardCounts.values.max() ?? 0, hint: "rebuild it where more files may be open")
      try place.begin()
    }
    return Plan(
      inputs: inputs, outputs: outputs, done: done, missing: missing, place: place, segments: segments,
      stream: ShardStream(missing.isEmpty ? needed : [], ready: ready, spent: spent, digests: digests))
  }

  /// Refuses a rebuild whose files have no room: one output at a time, with its segments, where nothing is fetched in
  /// another order, and all outputs where they stay.
  ///
  /// The outputs `parts` are without some rows, and are written from whole ones.
  private func requireRoom(for outputs: [OutputShard], parts: Set<Int>, in place: RebuildPlace) throws {
    let sizes = OutputSizes(try catalog.trainedIndex(id: version.trainedIndexID))
    let own = outputs.map(\.wholeByteCount)
    let working = zip(outputs, own).map { output, byteCount in
      sizes.segment(rowCount: output.rowCount)
        .addingSaturated(byteCount.multipliedSaturated(by: parts.contains(output.ordinal) ? 2 : 1))
    }
    let most = (working.max() ?? 0).addingSaturated(place.kept == nil ? 0 : own.saturatedSum)
    try catalog.requireRoom(for: "the rebuilt \(version.name)", [RoomNeed(at: place.work, byteCount: most)])
  }

  /// Encodes the shards that the handoff gives, and merges each output when it lacks
  /// none.
  private func rebuild(_ plan: Plan, _ onRelease: @Sendable () -> Void) throws -> [RebuiltOutput] {
    let rows = plan.inputs.reduce(0) { $0 + ($1.isHole ? 0 : $1.rowCount) }
    let executor = OutputExecutor(
      try catalog.terms(of: version),
      shards: LakeShards(catalog, try catalog.source(id: version.sourceID), inputs: plan.inputs),
      segments: plan.segments, rowCount: rows, cancellation: cancellation, logger: logger)
    let byShard = Dictionary(plan.inputs.map { ($0.shardID, $0) }) { first, _ in first }
    var open = Dictionary(uniqueKeysWithValues: plan.outputs.map { ($0.ordinal, Set<Int>()) })
    for done in plan.done { open[done.ordinal] = nil }
    var rowsDone = rows
    for id in plan.stream.shardIDs {
      guard let input = byShard[id] else { continue }
      open[input.outputOrdinal]?.insert(input.ordinal)
      rowsDone -= input.rowCount
    }
    var rebuilt = plan.done
    func mergeComplete() throws {
      for output in plan.outputs where open[output.ordinal]?.isEmpty ?? false {
        rebuilt.append(try merge(output, plan, executor))
        open[output.ordinal] = nil
        // Shards of other outputs may have the same bytes.
        let needed = Set(plan.inputs.filter { open[$0.outputOrdinal] != nil }.compactMap { $0.revision?.digest })
        let own = OutputTask(output.ordinal, of: plan.inputs).bound.compactMap(\.digest)
        try plan.segments.remove(ofShards: own.filter { !needed.contains($0) })
      }
    }
    try mergeComplete()
    while let item = try plan.stream.handoff.next() {
      try cancellation.check()
      guard case .ready(let id) = item, let input = byShard[id] else {
        if case .lost(_, let error) = item { throw error }
        preconditionFailure("the handoff has a shard that the version has not")
      }
      try executor.encode(OutputTask.Input(input)) { progress in
        guard case .encoding(let task, let done) = progress else { return }
        report(.encoding(shard: task.name, rowsDone: rowsDone + done, rows: rows))
      }
      rowsDone += input.rowCount
      plan.stream.handoff.release(id)
      onRelease()
      open[input.outputOrdinal]?.remove(input.ordinal)
      try mergeComplete()
    }
    return rebuilt
  }

  /// Merges an output and looks where it differs.
  private func merge(_ output: OutputShard, _ plan: Plan, _ executor: OutputExecutor) throws -> RebuiltOutput {
    let path = plan.place.path(catalog.layout.outputPath(version.name, ordinal: output.ordinal))
    let summary = try executor.merge(OutputTask(output.ordinal, of: plan.inputs), to: path) { _ in
      report(.merging(output: output.ordinal, of: plan.outputs.count))
    }
    let refining = plan.place.path(catalog.layout.refinePath(version.name, ordinal: output.ordinal))
    let refine = try executor.refine(OutputTask(output.ordinal, of: plan.inputs), to: refining)
    var rebuilt = RebuiltOutput(
      ordinal: output.ordinal, digest: summary.digest, listsDigest: summary.listDigests.root,
      rowCount: summary.rowCount, byteCount: summary.byteCount.addingSaturated(refine?.byteCount ?? 0),
      refineDigest: refine?.digest)
    if summary.digest != output.digest {
      let difference = try compare(output, rebuilt: path, summary)
      (rebuilt.list, rebuilt.rowID) = (difference.list, difference.rowID)
    }
    try plan.place.keep(rebuilt, files: [path] + (refine == nil ? [] : [refining]))
    report(.finished(output: output.ordinal, of: plan.outputs.count, byteCount: rebuilt.byteCount))
    return rebuilt
  }

  /// Holds what was rebuilt against what was recorded, in order.
  private func conclude(
    _ outputs: [OutputShard], _ rebuilt: [RebuiltOutput], _ verdict: inout StatementVerdict
  ) -> ReproductionReport {
    verdict.check("the rebuilt outputs against the lock file")
    var outcome = ReproductionOutcome.identical
    var difference: ReproductionReport.Difference?
    for (output, found) in zip(outputs, rebuilt.sorted { $0.ordinal < $1.ordinal }) {
      let place = "outputs[\(output.ordinal)]"
      verdict.compare("\(place).rows", expected: String(output.rowCount), found: String(found.rowCount))
      verdict.compare("\(place).bytes", expected: String(output.wholeByteCount), found: String(found.byteCount))
      verdict.compare("\(place).lists_sha256", expected: output.listsDigest.hex, found: found.listsDigest.hex)
      verdict.compare("\(place).sha256", expected: output.digest.hex, found: found.digest.hex)
      if found.refineDigest != output.refine?.digest {
        verdict.compare(
          "\(place).refine.sha256", expected: output.refine?.digest.hex, found: found.refineDigest?.hex)
        outcome = .differs
        difference = difference ?? .init(output: output.ordinal, list: nil, rowID: nil)
      }
      if found.digest == output.digest, found.listsDigest != output.listsDigest {
        // The bytes are right, so what was sealed of their lists never was.
        outcome = .differs
        difference = difference ?? .init(output: output.ordinal, list: nil, rowID: nil)
      }
      if found.digest != output.digest {
        let isSame = found.listsDigest == output.listsDigest && found.list == nil
        if !isSame || outcome == .identical { outcome = isSame ? .sameLists : .differs }
        if difference == nil || (difference?.list == nil && !isSame) {
          difference = .init(output: output.ordinal, list: found.list, rowID: found.rowID)
        }
      }
    }
    return ReproductionReport(
      outcome: outcome, outputCount: outputs.count, fileCount: outputs.fileCount,
      byteCount: rebuilt.reduce(0) { $0 + $1.byteCount }, difference: difference, missing: [])
  }

  /// The first list and row in which an output and its rebuilt form differ.
  private func compare(
    _ output: OutputShard, rebuilt: String, _ summary: OutputShardSummary
  ) throws -> ReproductionReport.Difference {
    let path = try ArtifactStore(catalog).path(of: .outputShard, output.digest)
    // What was sealed of the lists may contradict the bytes that were: where those are right, they say.
    let isTold = summary.listDigests.root != output.listsDigest
    guard Disk.size(of: path) != nil, try isTold || Disk.digest(of: path) == output.digest else {
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
