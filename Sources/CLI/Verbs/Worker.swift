internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn worker`: carry one task out.
struct Worker: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Carry out one task of a directory that `tarn plan` wrote.",
    discussion: """
      It needs the directory and the shards' addresses, neither catalog nor lake. Shards are fetched a few ahead into
      --scratch, encoded and let go; the result and, last, its receipt go into the directory. A task that has a receipt is
      done. Interrupted, it goes on behind the last shard where --scratch is still there.

      Without --task the number is SLURM_ARRAY_TASK_ID (and TARN_TASK_OFFSET), JOB_COMPLETION_INDEX or
      AWS_BATCH_JOB_ARRAY_INDEX. TARN_THREADS says how many threads encode.

      Exit statuses 20, 21 and 64 are not worth another try; 28, 75, 130 and 143 are.

      EXAMPLES
        tarn worker /shared/laion --task 7
        TMPDIR=/local/scratch tarn worker .

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The directory of tasks.", valueName: "dir"))
  var directory: String

  @Option(help: ArgumentHelp("The task's number.", valueName: "n"))
  var task: Int?

  @Option(help: ArgumentHelp("Where to keep what is under way (default: TMPDIR, else /tmp).", valueName: "dir"))
  var scratch: String?

  @Option(help: ArgumentHelp("Shards fetched at a time.", valueName: "n"))
  var jobs: Int = 2

  @Option(
    help: ArgumentHelp(
      "Most bytes a second over all transfers: 50MB/s, or a timetable: '08:00,10MB/s 19:00,off'.", valueName: "rate"))
  var bwlimit: RateTimetable?

  @Option(
    name: .customLong("per-host"), help: ArgumentHelp("Most transfers at a time from one host.", valueName: "n"))
  var perHost: Int?

  @Option(
    name: .customLong("at-a-time"),
    help: ArgumentHelp(
      "Workers at a time that --per-host and --bwlimit are of: this one takes its share.", valueName: "n"))
  var atATime: Int = 1

  @Option(
    help: ArgumentHelp("How long to wait for hosts that fail for now, e.g. 6h; 0 for not at all.", valueName: "time"))
  var patience: TimeSpan = .ofBuild

  @OptionGroup var global: GlobalOptions

  func validate() throws {
    guard (1...64).contains(jobs) else { throw ValidationError("--jobs is 1 to 64.") }
    guard (1...4096).contains(perHost ?? 1) else { throw ValidationError("--per-host is 1 to 4096.") }
    guard atATime >= 1 else { throw ValidationError("--at-a-time is at least 1.") }
  }

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let number = try task ?? TaskNumber.inEnvironment(environment)
    let tasks = TaskDirectory(absolute(directory))
    var fetch = FetchConfiguration.ofTool
    fetch.jobs = jobs
    fetch.share(perHost: perHost, bandwidth: bwlimit, amongWorkers: atATime)
    let named = scratch ?? environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
    let options = WorkerOptions(
      supply: SupplyOptions(fetch: fetch, patience: patience.duration), scratch: absolute(named),
      tool: "tarn \(Tool.version)")
    let progress = global.progress("task \(number)")
    let worker = TaskWorker(
      number, of: tasks, options, logger: global.logger("tarn.worker"), cancellation: global.cancellation,
      report: progress.show)
    do {
      let (receipt, isNew) = try await worker.run()
      progress.clear()
      conclude(number, receipt, isNew: isNew)
    } catch let error as TarnError {
      if error.code != .interrupted { worker.note(error, status: Int(Failure(error)?.status.rawValue ?? 1)) }
      throw error
    }
  }

  private func conclude(_ number: Int, _ receipt: TaskReceipt, isNew: Bool) {
    let result = receipt.result
    if global.json {
      Output.json([
        "task": .count(number), "new": .bool(isNew), "sha256": .string(result.digest.hex),
        "rows": .count(result.rowCount),
        "bytes": .count(result.byteCount), "host": .string(receipt.host),
        "peak_memory_bytes": Tool.peakByteCount.map { .count($0) } ?? .null,
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
  func show(_ event: WorkerProgress) {
    switch event {
    case .encoding(let shard, let done, let rows):
      update(done: Double(done), total: Double(rows)) { "encoding \(shard), \(done)/\(rows) rows" }
    case .merging: note("merging")
    case .retrying(let shard, let error): note("\(shard): \(error); trying again")
    case .waiting(let pause, let left):
      note(
        "waiting \(TimeSpan.text(seconds: pause.seconds)), patience for another \(TimeSpan.text(seconds: left.seconds))"
      )
    case .leftOut(let shard, let reason): note("\(shard) is left out: \(reason)")
    }
  }
}
