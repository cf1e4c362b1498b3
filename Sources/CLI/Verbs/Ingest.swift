internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn ingest`: take what workers made into the lake.
struct Ingest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest", abstract: "Take the results of tasks into the lake, and seal the version.",
    discussion: """
      Receipts are held against their tasks, results are read whole and moved into the lake; when no output is missing the
      version is sealed, with the digest that a build on this machine gives. What does not hold is put into DIR/refused and
      its task counts as open: `tarn plan --again DIR`. Of each host's first result, and of later ones by lot, --recheck shards
      that the lake has are encoded again and compared; the lot is drawn when the result is read.

      Run it where the lake is, never on a compute node: a lake is written by one host at a time.

      With --missing skip a worker leaves out what it cannot have, and the version has a hole there: each is named, with the
      host and its reason, which nobody checks. Where that host alone could not have it, give the version up (`tarn abandon`
      before it is sealed) or build the next one.

      Of a training the rows found are taken in, and the next search is written as tasks, until the index is trained.

      Exit status: 0 sealed or trained; 3 tasks are open, what came is recorded; 20 a receipt or result lies.

      EXAMPLES
        tarn ingest /shared/laion
        tarn ingest /shared/laion --follow
        tarn ingest s3://bucket/laion

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp("The directory of tasks, or s3://BUCKET/PREFIX.", valueName: "dir"), completion: .directory)
  var directory: String

  @Option(help: ArgumentHelp("Shards of a result that is looked at to encode again; 0 for none.", valueName: "n"))
  var recheck: Int = 1

  @Flag(help: "Go on until the version is sealed, taking results in as they come.")
  var follow = false

  @Option(help: .patience(for: "a store that fails for now"))
  var patience: TimeSpan = .ofSync

  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard recheck >= 0 else { throw ValidationError("--recheck is at least 0.") }
  }

  func run() async throws {
    let tasks = try await global.tasks(at: directory, patience: patience)
    let plan = try await ThreadedWork("tarn-ingest") { try tasks.plan() }.value()
    if plan.kind == .train { return try await train(plan.subject, tasks) }
    let catalog = try writer.open(global, "ingest \(directory)", keeping: room) {
      try TaskIngest.leases(in: $0, of: plan)
    }
    let progress = global.progress("ingest")
    let summary = try await ThreadedWork("tarn-ingest") { [recheck, follow, global] in
      let ingest = TaskIngest(
        catalog, tasks, recheckCount: recheck, logger: global.logger("tarn.ingest"), cancellation: global.cancellation,
        report: progress.show)
      return try follow ? ingest.follow() : ingest.run()
    }.value()
    progress.clear()
    conclude(summary)
    if summary.isSealed {
      catalog.warnOfExcludedRows(summary.version.name, "what was sealed has", since: "it was planned")
    }
    guard summary.refused.isEmpty else { throw Outcome(.integrity) }
    guard summary.isSealed else { throw Outcome(.partial) }
  }

  /// Takes the rows found of a training in, and goes on with it.
  private func train(_ name: String, _ tasks: TaskDirectory) async throws {
    let catalog = try writer.open(global, "ingest \(directory)", keeping: room) {
      try TrainingRun.leases(in: $0, ofTraining: name)
    }
    let progress = global.progress("ingest")
    let again = try await ThreadedWork("tarn-ingest") {
      try TaskScripts(keptIn: tasks) ?? TaskScripts(tarn: Tool.executablePath())
    }.value()
    var told: String?
    while true {
      var run = try TrainingRun(
        again: name, catalog, logger: global.logger("tarn.train"), cancellation: global.cancellation,
        report: progress.show)
      run.rounds = try TrainingRounds(tasks, of: catalog, again)
      do {
        let (trained, isNew) = try await run.run(fetching: nil, follow: { _ in })
        progress.clear()
        return try global.conclude(trained, isNew: isNew, of: nil, FetchedRevisions(), catalog)
      } catch let round as RoundNeeded {
        progress.clear()
        guard follow, round.refused.isEmpty else {
          global.conclude(round, tasks, directory)
          throw Outcome(round.refused.isEmpty ? .partial : .integrity)
        }
        // Somebody has to run the tasks of the next search, too.
        if told != round.step { global.conclude(round, tasks, directory) }
        told = round.step
        try await ThreadedWork("tarn-follow") { [global] in try global.cancellation.sleep(for: .seconds(2)) }.value()
      }
    }
  }

  private func conclude(_ summary: IngestSummary) {
    let version = summary.version
    if global.json {
      Output.json([
        "version": .string("\(version.name)"), "sealed": .bool(summary.isSealed),
        "sha256": .optional(version.versionDigest?.hex), "tasks": .count(summary.taskCount),
        "recorded": .counts(summary.recorded),
        "open": .array(
          summary.open.map { task, failure in failure?.json(of: task) ?? .object(["task": .count(task)]) }),
        "refused": .array(summary.refused.map(\.json)),
        "left_out": .array(summary.leftOut.map(\.json)),
        "rechecked": .array(
          summary.rechecks.map {
            .object(["shard": .string($0.shard), "host": .string($0.host), "lack": .optional($0.lack)])
          }),
      ])
      return Output.flush()
    }
    for check in summary.rechecks {
      Output.line(
        check.lack.map { "not rechecked: \(check.shard) of \(check.host): \($0)" }
          ?? "rechecked: \(check.shard) of \(check.host) is the same")
    }
    for shard in summary.leftOut { Output.line(shard.text) }
    for (task, failure) in summary.open {
      Output.line(
        "task \(task) is open: \(failure?.words ?? "no receipt")")
    }
    if summary.isSealed {
      Output.line(
        "\(version.name) is sealed: \(summary.recorded.count.counted("output")) taken in now, sha256 \(version.versionDigest?.prefix(16) ?? "")…"
      )
    } else {
      Output.line(
        "\(version.name): \(summary.recorded.count.counted("output")) taken in now, \(summary.open.count) of "
          + "\(summary.taskCount.counted("task")) open; `tarn plan --again \(directory)` writes what must run again")
    }
    Output.flush()
  }
}

extension IngestSummary.Refusal {
  /// As people are told.
  var text: String { "task \(task): \(file) is refused: \(reason)" }

  /// As `--json` prints it.
  var json: JSONValue { .object(["task": .count(task), "file": .string(file), "reason": .string(reason)]) }
}

extension IngestSummary.LeftOut {
  /// As people are told.
  var text: String { "\(shard) is left out of task \(task), made on \(host), which could not have it: \(reason)" }

  /// As `--json` prints it.
  var json: JSONValue {
    .object(["task": .count(task), "shard": .string(shard), "host": .string(host), "reason": .string(reason)])
  }
}

extension ProgressLine {
  /// Shows how far an ingest is.
  func show(_ event: IngestProgress) {
    switch event {
    case .reading(let task, let count):
      update(done: Double(task), total: Double(count)) { "\(task) of \(count.counted("task")) looked at" }
    case .recorded(let task, let count, let host, let bytes):
      note("task \(task) of \(count), made on \(host), is taken in: \(ByteSize.text(bytes))")
    case .refused(let refusal): note(refusal.text)
    case .failed(let task, let failure):
      note("task \(task) was given up: \(failure.words)")
    case .rechecking(let shard): note("encoding \(shard) again")
    case .leftOut(let shard): note(shard.text)
    }
  }
}
