internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn plan`: work as tasks that other machines carry out.
struct Plan: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Write a build or a training as tasks for other machines.",
    discussion: """
      `plan build` plans a version as `build` does and writes a directory that workers share: a task for every output that
      the version lacks, run.txt with one command a line, slurm.sh, and k8s.yaml. Any engine may run those: `tarn worker`
      needs neither catalog nor lake, and tasks may run anywhere, twice, or again. `tarn ingest` takes the results in.
      Outputs that sealed versions of the source have are taken from them when it is planned, less rows that were excluded,
      and are no tasks.

      EXAMPLES
        tarn plan build laion --trained clip --images images --tasks /shared/laion
        cd /shared/laion && sbatch slurm.sh
        cd /shared/laion && parallel -j 4 < run.txt
        tarn ingest /shared/laion
        tarn plan --again /shared/laion
        tarn plan build laion --trained clip --images images --tasks s3://bucket/laion

      Workers without a shared directory have all in an object store: --tasks s3://BUCKET/PREFIX. With a directory and
      --results s3://… what they make goes there. Who asks the store is said by AWS_* in the environment.

      \(ExitStatus.help)
      """,
    subcommands: [PlanBuild.self, PlanTrain.self])

  @Option(
    help: ArgumentHelp("Write the scripts anew for the tasks that have no receipt that fits.", valueName: "tasks-dir"),
    completion: .directory)
  var again: String?

  @OptionGroup var scripts: ScriptOptions
  @OptionGroup var limits: WorkerLimitOptions
  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  /// What is told where a copy had to be laid anew.
  static let mending = "a task or the trained index beside the plan was missing or damaged, and is laid anew"

  // The check of a command that has others below it is made for those, too: so it is made here.
  func run() async throws {
    guard let again else {
      throw TarnError(.usage, "plan: what to plan is not said", hint: "`tarn plan build`, or `tarn plan --again DIR`")
    }
    let directory = try await global.tasks(at: again, patience: .ofSync)
    // Where the lake that planned is at hand, what the tasks rely on is looked at, too.
    let catalog = try? global.read()
    let (plan, open, standing, isMended) = try await ThreadedWork("tarn-plan") { [scripts, limits, commands] in
      let plan = try directory.plan()
      let open = try directory.openTasks(of: plan)
      let written = try commands.applied(to: limits.applied(to: scripts.scripts(in: directory)))
      try written.write(open.map(\.task), of: plan, in: directory)
      let isMended =
        try catalog.map {
          try $0.uuid() == plan.lake && directory.layAnew(open.map(\.task), of: plan, from: $0)
        } ?? false
      return (plan, open, try directory.standing(of: plan, open: Set(open.map(\.task))), isMended)
    }.value()
    if isMended { Output.diagnostic("tarn: \(Self.mending)") }
    if global.json {
      Output.json(standing.json.merging(["again": .array(open.map { .count($0.task) })]) { $1 })
    } else {
      for (task, failure) in open {
        let state =
          standing.silences.first { $0.task == task }?.words
          ?? (standing.states[task] == .open ? "no receipt" : standing.states[task].rawValue)
        Output.line(
          "task \(task): \(failure?.words ?? state)")
      }
      Output.line(standing.summary)
      Output.line(
        "\(open.count) of \(plan.tasks.count.counted("task")) have no receipt that fits"
          + (open.isEmpty
            ? "; `tarn ingest \(again)` takes the results in" : ": run.txt, slurm.sh and k8s.yaml are theirs"))
    }
    Output.flush()
  }
}

/// `tarn plan build`.
struct PlanBuild: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build", abstract: "Write a version's missing outputs as tasks.",
    discussion: """
      The version is planned in the catalog; nothing is encoded, and of shards that are not in the lake only the numbers of
      rows are asked for. Planned again into the same directory, the plan that is there is kept; tasks and trained index
      beside it are read, and laid anew where they are missing or damaged.

      EXAMPLES
        tarn plan build laion --trained clip --images images --tasks /shared/laion
        tarn plan build laion --trained clip --images images --tasks /shared/laion --at-a-time 8
        tarn plan build laion --trained clip --images images --tasks /shared/laion --dry-run

      --dry-run says what each step would take in one process of this machine, as that of `build` does; nothing is written.

      \(ExitStatus.help)
      """)

  @OptionGroup var what: BuildArguments

  @OptionGroup var place: TaskPlaceOptions

  @OptionGroup var cost: CostOption

  @Option(help: .patience(for: "a host that fails for now while rows are asked for"))
  var patience: TimeSpan = .ofSync

  @OptionGroup var scripts: ScriptOptions
  @OptionGroup var limits: WorkerLimitOptions
  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() async throws {
    let options = try what.options(fetching: true)
    guard !cost.dryRun else {
      return try await global.tellCost(of: options, keeping: nil) { try await self.planning($0, options) }
    }
    let catalog = try writer.open(
      global, "plan build", options.name,
      on: [.version: [options.name], .training: [options.trained], .source: [options.images]])
    let planning = try await self.planning(catalog, options)
    let progress = global.progress("plan build \(options.name)")
    let planned = try await planning.run(asking: SyncOptions(patience: patience), follow: progress.showFetching)
    progress.clear()
    if planned.isMended { Output.diagnostic("tarn: \(Plan.mending)") }
    let (version, plan) = (planned.version, planned.plan)
    if global.json {
      Output.json([
        "version": .string("\(version.name)"), "new": .bool(planned.isNew), "tasks": .count(plan.tasks.count),
        "directory": .string(planned.directory.path), "sealed": .bool(version.state == .sealed),
        "taken": .count(planned.takenCount),
      ])
    } else if version.state == .sealed {
      Output.line("\(version.name) was sealed before: there is nothing to do")
    } else {
      Output.line(
        "\(version.name): \(plan.tasks.count.counted("task")) in \(planned.directory.path)"
          + (planned.isNew ? "" : ", planned before")
          + (planned.takenCount == 0
            ? "" : "; \(planned.takenCount.counted("output")) taken from sealed versions, which no task makes"))
      Output.line(
        plan.tasks.isEmpty
          ? "`tarn ingest \(place.tasks)` seals it"
          : Plan.way(to: planned.directory, place.tasks))
    }
    Output.flush()
  }

  /// What writes the tasks, and may in their directory.
  private func planning(_ catalog: LakeCatalog, _ options: BuildOptions) async throws -> TaskPlanning {
    let directory = try await place.directory(global, patience: patience)
    let written = commands.applied(to: try limits.applied(to: try await scripts.kept(in: directory)))
    let planning = TaskPlanning(
      catalog, try options.following(catalog), logger: global.logger("tarn.plan"), cancellation: global.cancellation
    ) { _ in (directory, written) }
    try await ThreadedWork("tarn-plan") { try planning.require(directory, for: options.name) }.value()
    return planning
  }
}

/// `tarn plan train`.
struct PlanTrain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Write the next search of a training as tasks.",
    discussion: """
      Drawn rows are gathered here, as `train` does, and laid beside the tasks; then the first search, the nearest image of
      each caption, is written as tasks. `tarn ingest` takes the rows found in and writes the next search, an iteration of
      k-means after the other, until the index is trained: with the bytes that `train` gives.

      EXAMPLES
        tarn plan train clip --images images --captions captions --nlist 131072 --tasks /shared/clip
        tarn ingest /shared/clip

      --dry-run says what each step would take in one process of this machine, as that of `train` does; nothing is written.

      \(ExitStatus.help)
      """)

  @OptionGroup var what: TrainingArguments

  @OptionGroup var place: TaskPlaceOptions

  @OptionGroup var cost: CostOption

  @OptionGroup var scripts: ScriptOptions
  @OptionGroup(title: StreamOptions.title) var stream: StreamOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws { try stream.validate(fetchesAnyway: false) }

  func run() async throws {
    let options = try what.options()
    guard !cost.dryRun else {
      return try await global.tellCost(of: options, fetching: stream, keeping: room) { _ in
        let directory = try await place.directory(global, patience: .ofSync)
        _ = try await scripts.kept(in: directory)
        return directory
      }
    }
    let catalog = try writer.open(
      global, stream.isFetching ? "plan train --fetch" : "plan train", options.name, on: what.names, keeping: room)
    let directory = try await place.directory(global, patience: .ofSync)
    let written = try await scripts.kept(in: directory)
    let progress = global.progress("plan train \(options.name)")
    var run = TrainingRun(
      catalog, options, logger: global.logger("tarn.train"), cancellation: global.cancellation, report: progress.show)
    run.rounds = try TrainingRounds(directory, of: catalog, written)
    do {
      let revisions = FetchedRevisions()
      let (trained, isNew) = try await run.run(
        fetching: stream.options(catalog), follow: revisions.following(progress))
      progress.clear()
      try global.conclude(trained, isNew: isNew, of: options, revisions, catalog)
    } catch let round as RoundNeeded {
      progress.clear()
      global.conclude(round, directory, place.tasks)
    }
  }
}

extension Plan {
  /// How tasks are run; lines of a directory's run.txt name it as the one that they are run in, so that it may be moved.
  fileprivate static func way(to directory: TaskDirectory, _ given: String) -> String {
    "run them \(directory.isDirectory ? "there, " : "")by run.txt, slurm.sh or k8s.yaml; then `tarn ingest \(given)`"
  }
}

extension GlobalOptions {
  /// Says what a training waits for.
  func conclude(_ round: RoundNeeded, _ directory: TaskDirectory, _ given: String) {
    for refusal in round.refused {
      Output.diagnostic("tarn: \(refusal.text)")
    }
    if json {
      Output.json([
        "step": .string(round.step), "tasks": .counts(round.tasks),
        "directory": .string(directory.path), "refused": .array(round.refused.map(\.json)),
      ])
    } else {
      Output.line("\(round.step): \(round.tasks.count.counted("task")) in \(directory.path)")
      Output.line(Plan.way(to: directory, given))
    }
    Output.flush()
  }
}

/// Where the tasks of a plan go.
struct TaskPlaceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Directory of the tasks, on a file system that the workers see, or s3://BUCKET/PREFIX.", valueName: "dir"),
    completion: .directory)
  var tasks: String

  @Option(
    help: ArgumentHelp(
      "Where results and receipts go, s3://BUCKET/PREFIX (default: beside the tasks).", valueName: "place"))
  var results: String?

  func directory(_ global: GlobalOptions, patience: TimeSpan) async throws -> TaskDirectory {
    try await global.tasks(at: tasks, patience: patience, results: results)
  }
}

/// What the scripts of a plan say; what is not said is as it was written before.
struct ScriptOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The tarn that workers run (default: this one).", valueName: "path"), completion: .file())
  var tarn: String?

  @Option(
    name: .customLong("at-a-time"),
    help: ArgumentHelp("Most tasks at a time, for Slurm and Kubernetes.", valueName: "n"))
  var atATime: Int?

  @Option(
    name: .customLong("array-size"),
    help: ArgumentHelp(
      "Your Slurm's MaxArraySize: more tasks are cut into arrays (default: 1001).", valueName: "n"))
  var arraySize: Int?

  @Option(help: ArgumentHelp("Tasks of one search of a training at most (default: 64).", valueName: "n"))
  var parts: Int?

  @Option(help: ArgumentHelp("Container image that k8s.yaml names (default: tarn:latest).", valueName: "image"))
  var image: String?

  @Option(help: ArgumentHelp("Persistent volume claim that k8s.yaml names (default: tarn).", valueName: "name"))
  var claim: String?

  func validate() throws {
    guard atATime ?? 1 >= 1 else { throw ValidationError("--at-a-time is at least 1.") }
    guard (1...10_000_000).contains(arraySize ?? 1) else { throw ValidationError("--array-size is 1 to 10000000.") }
    guard (1...1_000_000).contains(parts ?? 1) else { throw ValidationError("--parts is 1 to 1000000.") }
  }

  /// As ``scripts(in:)``, where the directory may be slow to answer.
  func kept(in directory: TaskDirectory) async throws -> TaskScripts {
    try await ThreadedWork("tarn-plan") { try scripts(in: directory) }.value()
  }

  func scripts(in directory: TaskDirectory) throws -> TaskScripts {
    var scripts = try TaskScripts(keptIn: directory) ?? TaskScripts(tarn: Tool.executablePath())
    if let tarn { scripts.tarn = tarn }
    if let atATime { scripts.atATime = atATime }
    if let arraySize { scripts.arraySize = arraySize }
    if let parts { scripts.partCount = parts }
    if let image { scripts.image = image }
    if let claim { scripts.claim = claim }
    return scripts
  }
}

/// Limits of all workers of a plan together; what is not said is as it was.
struct WorkerLimitOptions: ParsableArguments {
  @Option(
    name: .customLong("per-host"),
    help: ArgumentHelp(
      "With --at-a-time: most transfers at a time from one host, of all workers together.", valueName: "n"))
  var perHost: Int?

  @Option(
    help: ArgumentHelp(
      "With --at-a-time: most bytes a second, of all workers together: 500MB/s, or a timetable.", valueName: "rate"))
  var bwlimit: RateText?

  func validate() throws {
    guard (1...4096).contains(perHost ?? 1) else { throw ValidationError("--per-host is 1 to 4096.") }
  }

  /// Scripts with these limits, divided among as many workers as there are at a time.
  func applied(to scripts: TaskScripts) throws -> TaskScripts {
    var scripts = scripts
    let perHost = perHost ?? scripts.limits?.perHost
    let bandwidth = bwlimit?.text ?? scripts.limits?.bandwidth
    guard perHost != nil || bandwidth != nil else { return scripts }
    scripts.limits = try SharedLimits(perHost: perHost, bandwidth: bandwidth, amongWorkers: scripts.atATime)
    return scripts
  }
}

extension TaskStanding {
  /// As `--json` prints it: how many are how far, what ended those that failed, and of which nothing was heard for long.
  var json: [String: JSONValue] {
    var members = Dictionary(uniqueKeysWithValues: State.allCases.map { ($0.rawValue, JSONValue.count(count(of: $0))) })
    members["tasks"] = .count(states.count)
    members["failures"] = .array(failures.map { $0.word.json(of: $0.task) })
    members["silent"] = .array(
      silences.map { .object(["task": .count($0.task), "seconds": .count(Int($0.length.seconds))]) })
    return members
  }
}

extension TaskFailure {
  /// As `--json` prints it.
  func json(of task: Int) -> JSONValue {
    .object([
      "task": .count(task), "host": .string(host), "ended_at": .string(endedAt), "status": .count(status),
      "message": .string(message),
    ])
  }
}
