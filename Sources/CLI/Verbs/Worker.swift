internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Logging

/// `tarn worker`: carry tasks out.
struct Worker: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker", abstract: "Carry out tasks of a directory that `tarn plan` wrote.",
    discussion: """
      It needs the directory and the shards' addresses, neither catalog nor lake. Shards are fetched a few ahead into
      --scratch, encoded and let go; the result and, last, its receipt go into the directory. A task that has a receipt is
      done. Interrupted, it goes on behind the last shard where --scratch is still there, and with what a store has taken
      of the result. What earlier workers left in --scratch of tasks that are done goes when the next one begins, that of
      other plans after a week.

      Tasks may lie in an object store, s3://BUCKET/PREFIX; then the trained index is kept in --cache, once for all workers
      of a host, and results are read back. Who asks is said by AWS_* in the environment.

      Who may write to the plan says which addresses are asked, with what your netrc file has for their hosts;
      NETRC=/dev/null in the environment keeps that from them.

      Of several tasks, --task 0-9,17, the trained index is prepared once, and one is fetched and encoded while the merge
      of the one before it is written. After a failure that another try may mend, none is begun any more.

      Without --task the number is SLURM_ARRAY_TASK_ID (and TARN_TASK_OFFSET), JOB_COMPLETION_INDEX or
      AWS_BATCH_JOB_ARRAY_INDEX. TARN_THREADS says how many threads encode.

      Exit statuses 12, 20, 21 and 64 are not worth another try; 28, 75, 130 and 143 are.

      EXAMPLES
        tarn worker /shared/laion --task 7
        tarn worker /shared/laion --task 0-57
        TMPDIR=/local/scratch tarn worker .
        tarn worker s3://bucket/laion --task 7 --scratch /local/scratch --cache /local/cache

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp("The directory of tasks, or s3://BUCKET/PREFIX.", valueName: "dir"), completion: .directory)
  var directory: String

  @Option(help: ArgumentHelp("The task's number, or several: 0-9,17.", valueName: "n"))
  var task: String?

  @Option(
    help: ArgumentHelp("Where to keep what is under way (default: TMPDIR, else /tmp).", valueName: "dir"),
    completion: .directory)
  var scratch: String?

  @Option(
    help: ArgumentHelp(
      "Where to keep what the tasks of a store share, for the next worker (default: TMPDIR, else /tmp).",
      valueName: "dir"), completion: .directory)
  var cache: String?

  @OptionGroup var transfer: TransferOptions

  @Option(
    name: .customLong("per-host"), help: ArgumentHelp("Most transfers at a time from one host.", valueName: "n"))
  var perHost: Int?

  @Option(
    name: .customLong("at-a-time"),
    help: ArgumentHelp(
      "Workers at a time that --per-host and --bwlimit are of: this one takes its share.", valueName: "n"))
  var atATime: Int = 1

  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard (1...4096).contains(perHost ?? 1) else { throw ValidationError("--per-host is 1 to 4096.") }
    guard atATime >= 1 else { throw ValidationError("--at-a-time is at least 1.") }
  }

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    var fetch = transfer.options().fetch
    fetch.share(perHost: perHost, bandwidth: transfer.bwlimit?.timetable, amongWorkers: atATime)
    let tasks = try await global.tasks(at: directory, patience: transfer.waits, cache: cache, fetch: fetch)
    fetch.commands = commands.rules
    let asked = try task.map(OrdinalSet.init(parsing:))
    let numbers =
      if let asked {
        try await ThreadedWork("tarn-worker") { try tasks.numbers(asked) }.value()
      } else {
        [try TaskNumber.inEnvironment(environment)]
      }
    let options = WorkerOptions(
      supply: SupplyOptions(fetch: fetch, patience: transfer.waits.duration),
      scratch: absolute(scratch ?? temporaryDirectory()),
      tool: "tarn \(Tool.version)")
    let (logger, cancellation) = (global.logger("tarn.worker"), global.cancellation)
    let global = global
    let pipeline = TaskPipeline(numbers) { number, share in
      let progress = global.progress("task \(number)")
      return TaskWorker(
        number, of: tasks, options, share: share, logger: logger, cancellation: cancellation
      ) { progress.show($0, of: number) }
    }
    let error = await pipeline.run(isWorthRetry: { Failure($0)?.status.isWorthAnotherTry ?? true }) {
      number, worker, outcome in
      switch outcome {
      case .success(let (receipt, isNew)):
        global.progress("task \(number)").clear()
        conclude(number, receipt, isNew: isNew)
      case .failure(let error):
        if error.code != .interrupted { await worker.note(error, status: Int(Failure(error)?.status.rawValue ?? 1)) }
        if numbers.count > 1 { logger.warning("task \(number): \(error)") }
      }
    }
    if let error { throw error }
  }

  private func conclude(_ number: Int, _ receipt: TaskReceipt, isNew: Bool) {
    let result = receipt.result
    if global.json {
      Output.json([
        "task": .count(number), "new": .bool(isNew), "sha256": .string(result.digest.hex),
        "rows": .count(result.rowCount),
        "bytes": .count(result.byteCount), "host": .string(receipt.host),
        "peak_memory_bytes": .optionalCount(Tool.peakByteCount),
      ])
    } else {
      Output.line(
        "task \(number) \(isNew ? "is done" : "was done before on \(receipt.host)"): \(result.rowCount.counted("row")), "
          + "\(ByteSize.text(result.byteCount)), sha256 \(result.digest.prefix(16))…")
    }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows how far a worker is.
  func show(_ event: WorkerProgress, of task: Int) {
    switch event {
    case .encoding(let shard, let done, let rows):
      update(done: Double(done), total: Double(rows)) { "encoding \(shard), \(done)/\(rows) rows" }
    case .merging: note("task \(task): merging")
    case .retrying(let shard, let error): note("\(shard): \(error); trying again")
    case .waiting(let pause, let left):
      note(
        "waiting \(TimeSpan.text(seconds: pause.seconds)), patience for another \(TimeSpan.text(seconds: left.seconds))"
      )
    case .leftOut(let shard, let reason): note("\(shard) is left out: \(reason)")
    }
  }
}
