// `ingest`: receipts held against their tasks, results read, and what holds recorded
// as if it had been made here; when the last output is there the version is sealed.
//
// Nothing that a worker says is believed for its own sake:
//   receipt ── name is its digest ── of a task of this plan ── inputs are the task's
//     └─ result ── under a name of this lake's ── read whole: digest, rows, lists, ids
//          └─ inputs bound to the bytes seen ── output recorded ── sealed
// A result is recorded at most once; a run that dies anywhere is continued by the next.

package import Base
package import Catalog
internal import Foundation
internal import Indexer
package import Logging
package import Tasks

/// What came of one pass over the receipts.
package struct IngestSummary: Sendable {
  /// A receipt or result that is not believed.
  package struct Refusal: Sendable, Equatable {
    package let task: Int
    /// The receipt's file.
    package let file: String
    package let reason: String
  }

  /// One shard that was encoded again and held against the result.
  package struct Recheck: Sendable, Equatable {
    package let shard: String
    package let host: String
    /// Why it could not be; nil where it was.
    package let lack: String?
  }

  /// A shard that a worker could not have, so that the version has a hole there.
  package struct LeftOut: Sendable, Equatable {
    package let task: Int
    package let shard: String
    package let host: String
    /// As the worker says it.
    package let reason: String
  }

  /// Outputs of the plan.
  package var taskCount = 0
  /// Tasks whose outputs this pass recorded.
  package var recorded: [Int] = []
  /// Tasks that have no receipt that holds, with what their last workers said.
  package var open: [(task: Int, failure: TaskFailure?)] = []
  package var refused: [Refusal] = []
  package var rechecks: [Recheck] = []
  /// Of the results that were recorded; holes of the plan are none of them.
  package var leftOut: [LeftOut] = []
  /// The version as it is now.
  package var version: IndexVersion

  init(_ version: IndexVersion) { self.version = version }

  package var isSealed: Bool { version.state == .sealed }
}

/// How far an ingest is.
package enum IngestProgress: Sendable {
  case reading(task: Int, of: Int)
  case recorded(task: Int, of: Int, host: String, byteCount: Int)
  case refused(IngestSummary.Refusal)
  /// A worker gave the task up, of which whoever waits would hear nothing.
  case failed(task: Int, TaskFailure)
  case rechecking(shard: String)
  case leftOut(IngestSummary.LeftOut)
}

/// Takes results of workers into the lake.
package final class TaskIngest {
  let catalog: LakeCatalog
  private let directory: TaskDirectory
  let recheckCount: Int
  let logger: Logger
  let cancellation: Cancellation
  let report: @Sendable (IngestProgress) -> Void
  let store: ArtifactStore
  /// Reads a result whole and holds it against its receipt; another one in a simulation
  /// of a size whose bytes no test has.
  package typealias Reading =
    @Sendable (
      _ path: String, _ task: TaskDocument, _ receipt: TaskReceipt, _ terms: EncodingTerms
    ) throws -> Void
  private let read: Reading
  /// Gives what nobody knew before it was asked for: a secret for each result.
  package typealias Drawing = @Sendable () -> ContentDigest
  let draw: Drawing
  /// Results of each host of which something could be encoded again, and hosts of which
  /// nothing can be yet.
  var checkable: [String: Int] = [:]
  var lacking: Set<String> = []
  /// Hosts that gave what was found wrong: everything of theirs is looked at from then on.
  var suspects: Set<String> = []
  /// The tasks of the plan, read once: their digests are in it.
  private var documents: (plan: TaskPlan, tasks: [TaskDocument])?
  /// Whether it was told that the directory is not this user's to change.
  private var hasWarned = false
  /// Receipts that were read, by their names, which say their digests.
  private var receipts: [String: TaskReceipt] = [:]

  /// Prepares to take results in.
  ///
  /// - Parameters:
  ///   - catalog: The lake that planned, open for writing.
  ///   - directory: Where tasks, receipts and results lie.
  ///   - recheckCount: Shards to encode again of each host's results.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked between results; what is recorded is kept.
  ///   - read: How results are read.
  ///   - draw: Gives secrets, which decide what is encoded again.
  ///   - report: Told of progress.
  package init(
    _ catalog: LakeCatalog, _ directory: TaskDirectory, recheckCount: Int = 1, logger: Logger,
    cancellation: Cancellation, reading read: @escaping Reading = TaskIngest.readWhole,
    drawing draw: @escaping Drawing = TaskIngest.random,
    report: @escaping @Sendable (IngestProgress) -> Void
  ) {
    self.read = read
    self.draw = draw
    self.catalog = catalog
    self.directory = directory
    self.recheckCount = recheckCount
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
    store = ArtifactStore(catalog)
  }

  /// What an ingest needs of the lake.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - plan: What is taken in.
  /// - Returns: The leases.
  /// - Throws: ``TarnError`` for a plan of what is no version.
  package static func leases(in catalog: LakeCatalog, of plan: TaskPlan) throws -> [Lease] {
    let version = try VersionName(parsing: plan.subject)
    let found = try? catalog.version(version)
    let source = try found.map { try catalog.source(id: $0.sourceID).name }
    let trained = try found.map { try catalog.trainedIndex(id: $0.trainedIndexID).name }
    return VerbLeases.of("ingest")
      .leases([.version: [version.name], .training: [trained].compactMap(\.self), .source: [source].compactMap(\.self)])
  }

  /// Takes in what is there, and seals the version when nothing is missing.
  ///
  /// - Returns: What was recorded, what is open, what was refused.
  /// - Throws: ``TarnError`` where the plan is not this lake's, or cannot be read.
  package func run() throws -> IngestSummary {
    let plan = try directory.plan()
    let version = try self.version(of: plan)
    var summary = IngestSummary(version)
    summary.taskCount = plan.tasks.count
    guard version.state != .sealed else {
      try VersionFiles(catalog: catalog).restoreNames(of: version)
      try removeLate(of: version)
      return summary
    }
    let terms = try catalog.terms(of: version)
    // Once for all: a version may have very many.
    let inputs = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal)
    let outputs = Dictionary(uniqueKeysWithValues: try catalog.outputs(of: version).map { ($0.ordinal, $0) })
    let tasks = try self.tasks(of: plan)
    try hold(tasks, against: version, terms, inputs, outputs)
    let names = try directory.receiptNames()
    let files = try directory.resultNames()
    let failed = try directory.failedTasks()
    var verified: Set<Int> = []
    for (number, task) in tasks.enumerated() {
      try cancellation.check()
      let recorded = outputs[task.output]
      report(.reading(task: number, of: plan.tasks.count))
      let found = try believable(number, task, names[number] ?? [], recorded: recorded, &summary)
      guard recorded == nil else {
        if let recorded { whereItMay { try directory.removeResults(of: number, recorded.files, files[number] ?? []) } }
        continue
      }
      guard let (file, receipt) = found else {
        summary.open.append((number, failed.contains(number) ? directory.failure(of: number) : nil))
        continue
      }
      do {
        try take(number, task, receipt, version, terms, inputs[task.output] ?? [], &summary)
        whereItMay { try directory.removeResults(of: number, receipt.result.files, files[number] ?? []) }
        verified.insert(task.output)
        summary.recorded.append(number)
        let byteCount = receipt.result.byteCount.addingSaturated(receipt.result.refine?.byteCount ?? 0)
        report(.recorded(task: number, of: plan.tasks.count, host: receipt.host, byteCount: byteCount))
        for shard in Self.leftOut(number, task, receipt) {
          summary.leftOut.append(shard)
          report(.leftOut(shard))
        }
      } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
        try refuse(number, file, error.message, &summary)
        summary.open.append((number, nil))
      }
    }
    if summary.open.isEmpty {
      let lacking = Set(inputs.keys).subtracting(try catalog.outputs(of: version).map(\.ordinal))
      guard lacking.isEmpty else {
        throw TarnError(
          .conflict, "\(directory.path) has no task for \(lacking.count.counted("output")) that \(version.name) lacks",
          hint: "plan again into an empty directory")
      }
      try catalog.seal(version, verified: verified, cancellation)
      summary.version = try catalog.version(version.name)
    }
    return summary
  }

  /// Takes results in as they come, until the version is sealed or a receipt lies, and
  /// tells of each task that a worker gave up.
  ///
  /// - Parameter wait: Between two looks; ends early when the work is to stop.
  /// - Returns: What all passes together did.
  /// - Throws: As ``run()``; `.interrupted` keeps what is recorded.
  package func follow(wait: Duration = .seconds(2)) throws -> IngestSummary {
    var total: IngestSummary?
    var told: Set<TaskFailure> = []
    while true {
      let pass = try run()
      for (task, failure) in pass.open {
        if let failure, told.insert(failure).inserted { report(.failed(task: task, failure)) }
      }
      let summary = total.map { $0.followed(by: pass) } ?? pass
      guard !summary.isSealed, summary.refused.isEmpty else { return summary }
      total = summary
      try cancellation.sleep(for: wait)
    }
  }

  /// What a worker left out that the plan did not: it says so alone, and whoever takes it in may know better.
  private static func leftOut(_ number: Int, _ task: TaskDocument, _ receipt: TaskReceipt) -> [IngestSummary.LeftOut] {
    zip(task.inputs, receipt.inputs).compactMap { planned, input in
      guard input.seen == nil, !planned.isHole else { return nil }
      return IngestSummary.LeftOut(
        task: number, shard: planned.shard, host: receipt.host, reason: input.reason ?? "it does not say why")
    }
  }

  /// Removes what workers left that were at tasks which others had done.
  private func removeLate(of version: IndexVersion) throws {
    let digests = try catalog.outputs(of: version).flatMap(\.files)
    whereItMay {
      for (number, files) in try directory.resultNames() { try directory.removeResults(of: number, digests, files) }
    }
  }

  /// The version that a plan is of.
  private func version(of plan: TaskPlan) throws -> IndexVersion {
    guard plan.kind == .build else {
      throw TarnError(.usage, "\(directory.path) is the plan of a training")
    }
    guard try plan.lake == catalog.uuid() else {
      throw TarnError(
        .conflict, "\(directory.path) was planned by another lake", hint: "run it with --lake of the one that planned")
    }
    let version: IndexVersion
    do {
      version = try catalog.version(try VersionName(parsing: plan.subject))
    } catch let error as TarnError where error.code == .notFound {
      throw TarnError(
        .notFound, "\(error.message), of which \(directory.path) is the plan",
        hint: "plan again into an empty directory")
    }
    guard version.specDigest == plan.spec, [.planned, .building, .sealed].contains(version.state) else {
      throw TarnError(
        .conflict, "\(version.name) is \(version.state.rawValue) and not what \(directory.path) was planned for",
        hint: "plan again into an empty directory")
    }
    return version
  }

  /// The tasks of a plan, in order, read once.
  private func tasks(of plan: TaskPlan) throws -> [TaskDocument] {
    if let documents, documents.plan == plan { return documents.tasks }
    let tasks = try plan.tasks.indices.map { number in
      guard case .output(let task) = try directory.task(number, of: plan) else {
        throw TarnError(
          .conflict, "task \(number) of \(directory.path) is no output of a version",
          hint: "plan again into an empty directory")
      }
      return task
    }
    documents = (plan, tasks)
    return tasks
  }

  /// Holds every task against the version, before anything is recorded: whoever can write
  /// a receipt can write a task that it fits.
  private func hold(
    _ tasks: [TaskDocument], against version: IndexVersion, _ terms: EncodingTerms, _ inputs: [Int: [VersionInput]],
    _ outputs: [Int: OutputShard]
  ) throws {
    let source = try catalog.source(id: version.sourceID)
    var seen: Set<Int> = []
    for (number, task) in tasks.enumerated() {
      let isOfVersion =
        task.version == "\(version.name)" && task.spec == version.specDigest && task.trained == terms.trainedDigest
        && task.badRows == version.badRowsPolicy && task.missing == version.missingPolicy
        && task.normalisation == terms.normalisation && task.segmentFormat == segmentFormatVersion
        && task.dimension == source.dimension && task.elementType == source.elementType
        && task.array == source.array
      let planned = inputs[task.output] ?? []
      let hasItsInputs =
        planned.count == task.inputs.count
        && zip(planned, task.inputs).allSatisfy { input, its in
          input.ordinal == its.ordinal && input.shardName == its.shard && input.firstID == its.firstID
            && input.rowCount == its.rowCount && (input.isHole || !its.isHole) && input.excludedRows == its.excluded
        }
      guard isOfVersion, hasItsInputs || outputs[task.output] != nil, seen.insert(task.output).inserted else {
        throw TarnError(
          .conflict, "task \(number) of \(directory.path) is none of \(version.name) as the lake has it",
          hint: "plan again into an empty directory")
      }
    }
  }

  // MARK: Receipts

  /// The receipt of a task that is gone on with, of those that fit it by document.
  private func believable(
    _ number: Int, _ task: TaskDocument, _ names: [String], recorded: OutputShard?, _ summary: inout IngestSummary
  ) throws -> (file: String, receipt: TaskReceipt)? {
    var fitting: [(file: String, receipt: TaskReceipt)] = []
    for name in names {
      do {
        let receipt = try receipts[name] ?? directory.receipt(name)
        receipts[name] = receipt
        if let objection = receipt.objection(to: task) { throw TarnError(.integrity, objection) }
        if let recorded, recorded.files != receipt.result.files {
          throw TarnError(
            .integrity,
            "its result is \(receipt.result.digest.prefix(12)), recorded of this task is \(recorded.digest.prefix(12))")
        }
        fitting.append((name, receipt))
      } catch let error as TarnError where [.integrity, .schemaNewer].contains(error.code) {
        // A disk or a store that fails for now says nothing of the receipt.
        try refuse(number, name, error.message, &summary)
      }
    }
    guard let first = fitting.first else { return nil }
    // By invariant 3 they agree to the byte: where they do not, nobody knows which is right.
    if let other = fitting.first(where: { $0.receipt.result.files != first.receipt.result.files }) {
      for (file, rival) in [(first.file, other.file), (other.file, first.file)] {
        try refuse(number, file, "it and \(rival) say different results of one task", &summary)
      }
      return nil
    }
    return first
  }

  /// Puts a receipt out of the way, so that the task counts as open, and says why; where
  /// the directory does not let it, it is refused again by whoever looks next.
  private func refuse(_ number: Int, _ file: String, _ reason: String, _ summary: inout IngestSummary) throws {
    let refusal = IngestSummary.Refusal(task: number, file: file, reason: reason)
    summary.refused.append(refusal)
    report(.refused(refusal))
    whereItMay { try directory.refuse(file) }
  }

  /// Changes the directory, which may be another user's to change: what is taken in is the
  /// lake's whatever stays there.
  private func whereItMay(_ change: () throws -> Void) {
    do {
      try change()
    } catch {
      guard !hasWarned else { return }
      hasWarned = true
      let cause = (error as? TarnError)?.message ?? "\(error)"
      logger.warning("what was taken in or refused stays in \(directory.path): \(cause)")
    }
  }

  // MARK: Results

  /// Records one result, once it was read and found to be what its receipt says.
  private func take(
    _ number: Int, _ task: TaskDocument, _ receipt: TaskReceipt, _ version: IndexVersion, _ terms: EncodingTerms,
    _ inputs: [VersionInput], _ summary: inout IngestSummary
  ) throws {
    let file = directory.resultPath(number, receipt.result.digest)
    guard let size = try directory.byteCount(ofResult: receipt.result.digest, number, .build) else {
      throw TarnError(.inputsMissing, "its result \(file) is not there")
    }
    guard size == receipt.result.byteCount else {
      throw TarnError(.integrity, "its result \(file) has \(size) bytes, it says \(receipt.result.byteCount)")
    }
    try requireLikely(size, of: file, atMost: OutputSizes(terms.trained).output(rowCount: receipt.result.rowCount))
    let isHere = try directory.ownPath(ofResult: receipt.result.digest, number, .build).map {
      try FileSystem(of: $0).device == FileSystem(of: catalog.layout.artifacts).device
    }
    try catalog.requireRoom(
      for: "output \(task.output) of \(version.name)",
      [RoomNeed(at: catalog.layout.artifacts, byteCount: isHere == true ? 0 : size)])
    let refine = try takeRefining(number, task, receipt, version, terms)
    // From here on the bytes have a name of this lake's, and those are the ones that are read. What does not come whole
    // stays, to be gone on with.
    let working = try store.partPath("ingest-\(version.id)-\(receipt.result.digest.prefix(16))")
    try directory.take(receipt.result, of: number, .build, to: working)
    func clear() { for path in [working, refine?.path].compactMap(\.self) { try? Disk.remove(path) } }
    let recheck: OutputRecheck?
    do {
      try read(working, task, receipt, terms)
      recheck = try self.recheck(working, task, receipt, terms, refine?.path, &summary)
    } catch {
      clear()
      throw error
    }
    guard let listsDigest = receipt.result.listsDigest else { preconditionFailure("the receipt fits its task") }
    guard let first = inputs.first, let last = inputs.last else { preconditionFailure("a task has inputs") }
    let seen = try zip(zip(inputs, task.inputs), receipt.inputs).map { ($0.0, try bytes(of: $1, $0.1, $0.0)) }
    try store.put(output: working, receipt.result.digest, refinedBy: refine) {
      try catalog.recordOutput(
        OutputShard(
          ordinal: task.output, digest: receipt.result.digest, firstInput: first.ordinal, lastInput: last.ordinal,
          firstID: first.firstID, endID: last.ids.upperBound, rowCount: receipt.result.rowCount,
          byteCount: receipt.result.byteCount, listsDigest: listsDigest,
          refine: refine?.file), of: version, from: seen,
        witness: receipt.host, recheck: recheck)
    }
    // What was there before under its digest leaves them where they are.
    clear()
  }

  /// Refuses a file that is far larger than its rows can be, before room is asked for it: what nobody has room for would
  /// keep every other result out.
  private func requireLikely(_ byteCount: Int, of file: String, atMost most: Int) throws {
    guard byteCount / 2 > most.addingSaturated(1 << 20) else { return }
    throw TarnError(.integrity, "its result \(file) has \(byteCount) bytes, its rows come to \(most) at most")
  }

  /// Reads a result whole and holds it against its receipt.
  @Sendable package static func readWhole(
    _ path: String, _ task: TaskDocument, _ receipt: TaskReceipt, _ terms: EncodingTerms
  ) throws {
    let found = try OutputShardFile.read(path, trained: terms.trained, idsIn: ids(task, receipt))
    guard found.digest == receipt.result.digest else {
      throw TarnError(
        .integrity, "its result has SHA-256 \(found.digest.prefix(12)), it says \(receipt.result.digest.prefix(12))")
    }
    guard found.rowCount == receipt.result.rowCount, found.listDigests.root == receipt.result.listsDigest else {
      throw TarnError(.integrity, "its result has other rows or lists than it says")
    }
  }

  private func bytes(
    of seen: TaskReceipt.Input, _ planned: TaskDocument.Input, _ input: VersionInput
  ) throws -> SeenBytes? {
    guard let seen = seen.seen else { return nil }
    let mirror = try seen.place.flatMap { try catalog.mirrorID(ofShard: input.shardID, at: planned.places[$0].url) }
    return SeenBytes(
      digest: seen.digest, byteCount: seen.byteCount, rowCount: seen.rowCount, mirrorID: mirror, etag: seen.etag,
      lastModified: seen.lastModified)
  }

  /// Takes the codes that refine a result, and reads them whole.
  ///
  /// - Returns: Where they are now, and what they are; nil where the trained index does not refine.
  /// - Throws: ``TarnError`` `.inputsMissing` or `.integrity` when they are not what the receipt or
  ///   the trained index says.
  private func takeRefining(
    _ number: Int, _ task: TaskDocument, _ receipt: TaskReceipt, _ version: IndexVersion, _ terms: EncodingTerms
  ) throws -> (path: String, file: RefineShard)? {
    guard (receipt.result.refine != nil) == (terms.trained.refine != nil) else {
      throw TarnError(.integrity, "its result and its trained index do not both have codes that refine")
    }
    guard let stated = receipt.result.refine, let first = task.inputs.first, let last = task.inputs.last else {
      return nil
    }
    let file = directory.resultPath(number, stated.digest)
    guard try directory.byteCount(ofResult: stated.digest, number, .build) == stated.byteCount else {
      throw TarnError(.inputsMissing, "its file of codes that refine, \(file), is not there or of another size")
    }
    let idCount = Int(last.firstID - first.firstID).addingSaturated(last.rowCount)
    try requireLikely(stated.byteCount, of: file, atMost: OutputSizes(terms.trained).refine(idCount: idCount))
    try catalog.requireRoom(
      for: "what refines output \(task.output) of \(version.name)",
      [RoomNeed(at: catalog.layout.artifacts, byteCount: stated.byteCount)])
    let working = try store.partPath("ingest-\(version.id)-\(stated.digest.prefix(16)).refine")
    try directory.take(
      TaskReceipt.Result(digest: stated.digest, byteCount: stated.byteCount, rowCount: 0, listsDigest: nil), of: number,
      .build, to: working)
    do {
      let found = try RefineFile.read(
        working, trained: terms.trained, ids: first.firstID..<(last.firstID + Int64(last.rowCount)),
        keeping: Self.ids(task, receipt))
      guard found == stated else {
        throw TarnError(
          .integrity,
          "its codes that refine have SHA-256 \(found.digest.prefix(12)), it says \(stated.digest.prefix(12))")
      }
    } catch {
      try? Disk.remove(working)
      throw error
    }
    return (working, RefineShard(stated))
  }

  /// The ids that the result of a task may have rows of, by what its worker saw.
  private static func ids(_ task: TaskDocument, _ receipt: TaskReceipt) -> [Range<Int64>] {
    zip(task.inputs, receipt.inputs).filter { $1.seen != nil }.flatMap { input, seen in
      input.bound(to: seen.seen?.digest).ids
    }
  }
}

extension OutputShard {
  /// The digests of its files.
  fileprivate var files: [ContentDigest] { [digest, refine?.digest].compactMap(\.self) }
}

extension TaskReceipt.Result {
  /// The digests of its files.
  fileprivate var files: [ContentDigest] { [digest, refine?.digest].compactMap(\.self) }
}
