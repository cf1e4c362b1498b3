// One task in a process that knows no catalog and no lake: inputs fetched or found,
// encoded, merged, read back; then the result under the name of its digest, then
// the receipt. A worker that is killed goes on behind its last segment where it
// finds its scratch directory again, and from the beginning where it does not.
//
// Invariants:
//   1. What is written depends on the task alone: any number of workers may be at one
//      task at a time, and none of them does harm.
//   2. The receipt comes last: who has it has the result.
//   3. Scratch holds the shards under way, one more, and the segments of one output.

package import Base
internal import Features
internal import Fetch
internal import Foundation
internal import Indexer
package import Logging

/// How far a worker is.
package enum WorkerProgress: Sendable {
  /// Rows of the output encoded so far.
  case encoding(shard: String, rowsDone: Int, rows: Int)
  case merging
  case retrying(shard: String, error: String)
  /// Nobody is asked for so long; patience ends after what is left.
  case waiting(pause: Duration, left: Duration)
  /// A shard that cannot be had is left out.
  case leftOut(shard: String, reason: String)
}

/// How a worker works.
package struct WorkerOptions: Sendable {
  package var supply: SupplyOptions
  /// Where it works; a directory of its own is made in it.
  package var scratch: String
  /// Name and version of the tool, for the receipt.
  package var tool: String

  package init(supply: SupplyOptions, scratch: String, tool: String) {
    self.supply = supply
    self.scratch = scratch
    self.tool = tool
  }
}

/// Carries out one task of a directory.
package final class TaskWorker: Sendable {
  let directory: TaskDirectory
  let number: Int
  let options: WorkerOptions
  let share: WorkerShare
  let logger: Logger
  let cancellation: Cancellation
  let report: @Sendable (WorkerProgress) -> Void
  /// Names this process among all that may be at the task; containers may share a host's
  /// name and a process's number.
  let name =
    "\(HostName.current.filter { $0.isLetter || $0.isNumber || $0 == "-" }).\(getpid())."
    + String(UInt32.random(in: .min ... .max), radix: 16)

  /// Prepares to work.
  ///
  /// - Parameters:
  ///   - number: The task's number in its plan.
  ///   - directory: Where plan, task, results and receipts lie.
  ///   - options: How to work.
  ///   - share: What the tasks of one process have together.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked often; what is encoded stays in scratch.
  ///   - report: Told of progress, from any thread.
  package init(
    _ number: Int, of directory: TaskDirectory, _ options: WorkerOptions, share: WorkerShare = WorkerShare(),
    logger: Logger, cancellation: Cancellation, report: @escaping @Sendable (WorkerProgress) -> Void
  ) {
    self.number = number
    self.directory = directory
    self.options = options
    self.share = share
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
  }

  /// Carries the task out, unless there is a receipt for it.
  ///
  /// - Parameter encoded: Called when nothing is left to fetch and to encode, from any
  ///   thread; not where the task ends before.
  /// - Returns: The receipt, and whether this run wrote it.
  /// - Throws: ``TarnError``.
  package func run(
    encoded: @escaping @Sendable () -> Void = {}
  ) async throws -> (receipt: TaskReceipt, isNew: Bool) {
    cancellation.listen()
    // A store may take its time to answer.
    let (plan, task, known) = try await ThreadedWork("tarn-worker") { [self] in
      let plan = try directory.plan()
      let task = try directory.task(number, of: plan)
      sweepScratch(plan)
      return (plan, task, try receipts(of: task).first)
    }.value()
    if let known { return (known, false) }
    if case .output(let output) = task, output.segmentFormat != segmentFormatVersion {
      throw TarnError(
        .schemaNewer,
        "task \(number) asks for segment format \(output.segmentFormat), this tarn writes \(segmentFormatVersion)",
        hint: "run the tarn that planned it: \(plan.tool)")
    }
    // Not after hours of work.
    try await ThreadedWork("tarn-worker") { [self] in try directory.requireWritable() }.value()
    // It goes when the receipt is there.
    let scratch = try WorkerScratch(in: options.scratch, for: task.digest)
    DecodedRows.use(scratch.path, keeping: DiskReserve())
    defer { share.room.giveBack(number) }
    let made = try await finishing(task) {
      switch task {
      case .assign(let task): try await ThreadedWork("tarn-worker") { [self] in try find(task, in: scratch) }.value()
      case .output(let task): try await work(task, in: scratch, encoded)
      }
    }
    leave { try scratch.remove() }
    return made
  }

  /// Does the work and writes its receipt, the result being durable.
  private func finishing(
    _ task: AnyTask, _ work: () async throws -> TaskReceipt
  ) async throws -> (receipt: TaskReceipt, isNew: Bool) {
    let made: Result<TaskReceipt, any Error>
    do { made = .success(try await work()) } catch { made = .failure(error) }
    return try await ThreadedWork("tarn-worker") { [self] in
      let done: (receipt: TaskReceipt, isNew: Bool)
      do {
        let receipt = try made.get()
        try directory.write(receipt, of: number, by: name)
        done = (receipt, true)
      } catch let error as TarnError where error.code != .interrupted {
        // Another may have been at the task, and be done; then nothing is lacking. A receipt of
        // this one's may be seen and yet not be durable.
        let mine = try? made.get()
        guard let receipt = try? receipts(of: task).first(where: { $0 != mine }) else { throw error }
        done = (receipt, false)
      }
      leave { try directory.forgetFailure(of: number) }
      return done
    }.value()
  }

  /// Reads a file that lies beside the tasks: where it is missing or wrong, its own advice is of a lake's.
  func laidAnew<Value>(by way: String, _ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
      throw TarnError(error.code, error.message, hint: way, place: error.place)
    }
  }

  /// The receipts that there are for the task.
  private func receipts(of task: AnyTask) throws -> [TaskReceipt] {
    try directory.likelyReceipts(of: task, try directory.receiptNames(of: number)[number] ?? [])
  }

  /// Puts away what the task needed: it is done, whatever the disk says now.
  func leave(_ removing: () throws -> Void) {
    do {
      try removing()
    } catch {
      logger.warning("\((error as? TarnError)?.description ?? "\(error)")")
    }
  }

  /// Leaves word why the task is not done, for whoever looks; a disk that refuses is
  /// no second error.
  ///
  /// - Parameters:
  ///   - error: What ended it.
  ///   - status: The exit status that says so.
  package func note(_ error: TarnError, status: Int) async {
    try? await ThreadedWork("tarn-worker") { [self] in
      let plan = try directory.plan()
      guard plan.tasks.indices.contains(number) else { return }
      let failure = TaskFailure(
        task: plan.tasks[number], host: HostName.current, endedAt: Timestamp.now(), status: status,
        message: error.description.printableLine)
      try directory.write(failure, of: number, by: name)
    }.value()
  }

  private func work(
    _ task: TaskDocument, in scratch: WorkerScratch, _ encoded: @escaping @Sendable () -> Void
  ) async throws -> TaskReceipt {
    let startedAt = Timestamp.now()
    let bound = task.inputs.indices.filter { !task.inputs[$0].isHole }
    // The merge reads a segment of each: what cannot be is told before anything is fetched.
    try OpenFiles.require(bound.count, hint: "run this worker where more files may be open")
    let segments = ScratchSegments(directory: scratch.segments, resumes: true)
    // What an earlier worker saw counts as far as the segment that it made is whole.
    let before = Dictionary(
      uniqueKeysWithValues: bound.compactMap { place in
        scratch.seen(place).flatMap { segments.segment(ofShard: $0.digest) == nil ? nil : (place, $0) }
      })
    let ready = Set(bound.filter { before[$0] != nil || file(of: task.inputs[$0]) != nil })
    let wanted = bound.filter { !ready.contains($0) }
    for place in wanted where task.inputs[place].places.isEmpty {
      throw TarnError(
        .inputsMissing, "\(task.inputs[place].shard) is at no address, and its file is not on this machine",
        hint: "run the worker where the lake's directories are, or give the source a mirror and plan again")
    }
    // How large codes are is the trained index's to say; nothing is written before there is room for all (D11).
    let (trained, room) = try await ThreadedWork("tarn-worker") { [self] in
      let trained = try readTrained(of: task)
      let room = TaskRoom(
        task, encoding: bound.filter { before[$0] == nil },
        fetching: wanted.map { InputSupply.missingByteCount(of: task, $0, in: scratch.shards) },
        shardsAtATime: options.supply.fetch.jobs + 1, OutputSizes(trained),
        isStored: directory.outcomePath.isStoreAddress)
      try take(room, in: scratch)
      return (trained, room)
    }.value()
    let handoff = ShardHandoff(shardIDs: bound.map(Int64.init), ready: Set(ready.map(Int64.init)))
    let supply = InputSupply(
      task, wanted: wanted, in: scratch.shards, handoff: handoff, options.supply, cancellation: cancellation,
      roomComesBack: { [share, number] in share.room.hasOthers(than: number) }, report: report)
    async let fetching: Void = supply.run()
    // Work that ends, or gets no thread, leaves nothing to fetch for.
    let threaded = ThreadedWork("tarn-worker", ending: supply.cancel) { [self] in
      try make(
        task, trained, room, from: handoff, supply, segments, before, in: scratch, startedAt: startedAt, encoded)
    }
    await fetching
    return try await threaded.value()
  }

  /// The task's own file of an input, where it has its size.
  private func file(of input: TaskDocument.Input) -> String? {
    guard let path = input.path, input.digest != nil, let size = Disk.size(of: path), size == input.byteCount else {
      return nil
    }
    return path
  }

  /// The trained index of a task.
  private func readTrained(of task: TaskDocument) throws -> TrainedIndex {
    let way = "plan again into \(directory.path), by the command that planned or `tarn plan --again`: that lays it anew"
    let trained =
      try share.encoders.trained(task.trained)
      ?? laidAnew(by: way) {
        try directory.readingTrained(task.trained) { path in try TrainedIndexFile.read(path, digest: task.trained) }
      }
    guard trained.dimension == task.dimension else {
      throw TarnError(
        .integrity,
        "the trained index \(task.trained.prefix(12)) has dimension \(trained.dimension), the task \(task.dimension)")
    }
    return trained
  }

  private func make(
    _ task: TaskDocument, _ trained: TrainedIndex, _ room: TaskRoom, from handoff: ShardHandoff, _ supply: InputSupply,
    _ segments: ScratchSegments, _ before: [Int: TaskReceipt.Seen], in scratch: WorkerScratch, startedAt: String,
    _ encoded: () -> Void
  ) throws -> TaskReceipt {
    let sizes = OutputSizes(trained)
    let provider = WorkerShards(task)
    let rowCount = task.inputs.reduce(0) { $0 + ($1.isHole ? 0 : $1.rowCount) }
    let executor = OutputExecutor(
      EncodingTerms(
        trained: trained, trainedDigest: task.trained, badRows: task.badRows, normalisation: task.normalisation,
        array: task.array),
      shards: provider, segments: segments, rowCount: rowCount, encoders: share.encoders,
      cancellation: cancellation, logger: logger)
    var seen: [Int: TaskReceipt.Seen] = [:]
    var reasons: [Int: String] = [:]
    var rowsDone = 0
    while let item = try handoff.next() {
      try cancellation.check()
      switch item {
      case .lost(let id, let error):
        let input = task.inputs[Int(id)]
        guard task.missing == .skip, input.digest == nil, let error = error as? TarnError,
          error.code == .absent || error.code == .refused
        else { throw error }
        reasons[Int(id)] = error.message.printableLine
        report(.leftOut(shard: input.shard, reason: error.message))
      case .ready(let id):
        let place = Int(id)
        let input = task.inputs[place]
        if let before = before[place] {
          seen[place] = before
        } else {
          var found = try look(at: input, supply.arrived(place), provider)
          try requireRoom(
            of: sizes.segment(rowCount: input.rowCount), for: "the segment of \(input.shard)", at: scratch.segments)
          let done = rowsDone
          try executor.encode(input.bound(to: found.digest)) { progress in
            guard case .encoding(_, let rows) = progress else { return }
            report(.encoding(shard: input.shard, rowsDone: done + rows, rows: rowCount))
          }
          guard let segment = segments.segment(ofShard: found.digest) else { preconditionFailure("it was just kept") }
          found.badRowCount = found.rowCount - (try SegmentFile(path: segment).storedRowCount)
          try scratch.keep(found, of: place)
          seen[place] = found
        }
        if supply.arrived(place) != nil { try supply.release(place) } else { handoff.release(id) }
      }
      rowsDone += task.inputs[Int(item.shardID)].rowCount
    }
    share.room.shrink(to: try needs(of: room.ofMerge, in: scratch), for: number)
    encoded()
    let result = try merge(task, seen, taking: room.results, with: executor, in: scratch)
    return TaskReceipt(
      task: task.digest, tool: options.tool, host: HostName.current, startedAt: startedAt, endedAt: Timestamp.now(),
      segmentFormat: segmentFormatVersion,
      inputs: task.inputs.enumerated().map { place, input in
        TaskReceipt.Input(ordinal: input.ordinal, seen: seen[place], reason: reasons[place])
      }, result: result)
  }

  /// What an input's bytes are, from its file or from what was fetched.
  private func look(
    at input: TaskDocument.Input, _ fetched: FetchedShard?, _ provider: WorkerShards
  ) throws -> TaskReceipt.Seen {
    if let fetched {
      guard fetched.rowCount == input.rowCount else {
        throw TarnError(
          .integrity, "\(input.shard) has \(fetched.rowCount) rows, the plan says \(input.rowCount)",
          hint: "correct the rows that its source was registered with, and plan again")
      }
      provider.put(fetched.path, remedy: "run the worker again", of: input)
      return TaskReceipt.Seen(
        digest: fetched.digest, byteCount: fetched.byteCount, rowCount: fetched.rowCount, badRowCount: 0,
        place: Int(fetched.mirrorID), etag: fetched.validator.etag?.printable,
        lastModified: fetched.validator.lastModified?.printable)
    }
    guard let path = file(of: input), let digest = input.digest, let byteCount = input.byteCount else {
      throw TarnError(.inputsMissing, "the file of \(input.shard) is gone since this task began", hint: "run it again")
    }
    provider.put(path, remedy: "run `tarn verify --repair` in the lake that planned", of: input)
    return TaskReceipt.Seen(
      digest: digest, byteCount: byteCount, rowCount: input.rowCount, badRowCount: 0, place: nil)
  }

  private func merge(
    _ task: TaskDocument, _ seen: [Int: TaskReceipt.Seen], taking byteCount: Int, with executor: OutputExecutor,
    in scratch: WorkerScratch
  ) throws -> TaskReceipt.Result {
    let working = try directory.workingPath(number, by: name, in: scratch.path)
    try requireRoom(of: byteCount, for: "the output of task \(number)", at: working)
    // In a store's scratch one name serves both: what refines is put before the output is made.
    let inputs = task.inputs.enumerated().map { place, input in input.bound(to: seen[place]?.digest) }
    do {
      let output = OutputTask(ordinal: task.output, inputs: inputs)
      let refine = try executor.refine(output, to: working)
      if let refine { try directory.put(result: working, of: number, refine.digest, .build, by: scratch.path) }
      let made = try executor.merge(output, to: working) { _ in report(.merging) }
      try directory.put(result: working, of: number, made.digest, .build, by: scratch.path)
      return TaskReceipt.Result(
        digest: made.digest, byteCount: made.byteCount, rowCount: made.rowCount, listsDigest: made.listDigests.root,
        refine: refine)
    } catch {
      try? Disk.remove(working)
      throw error
    }
  }
}

extension ShardHandoff.Item {
  fileprivate var shardID: Int64 {
    switch self {
    case .ready(let id), .lost(let id, _): id
    }
  }
}

extension TaskDocument.Input {
  /// As the executor takes it.
  package func bound(to digest: ContentDigest?) -> OutputTask.Input {
    OutputTask.Input(
      ordinal: ordinal, name: shard, digest: digest, firstID: firstID, rowCount: rowCount, excluded: excluded)
  }
}
