internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

extension MissingPolicy: ExpressibleByArgument {}
extension BadRowsPolicy: ExpressibleByArgument {}

/// What a version is made from: the arguments of the verbs that plan one.
struct BuildArguments: ParsableArguments {
  @Argument(help: "The version's name; it becomes NAME@1, NAME@2, …", completion: .versionNames)
  var name: String

  @Option(help: ArgumentHelp("The trained index to encode against.", valueName: "trained"), completion: .trainedIndexes)
  var trained: String

  @Option(
    help: ArgumentHelp("Source of the features to build from, of the kind that was trained on.", valueName: "source"),
    completion: .sources)
  var images: String

  @OptionGroup var range: ShardRangeOptions

  @Option(
    name: .customLong("shards-per-output"),
    help: ArgumentHelp(
      "Shards in each output file (default: as the last version of NAME from this source has, else \(BuildOptions.shardsPerOutputAtFirst)).",
      valueName: "n"))
  var shardsPerOutput: Int?

  @Option(
    help: ArgumentHelp(
      "Shards that no mirror has, or with --offline are not in the lake: fail, or skip and leave a hole.",
      valueName: "policy"))
  var missing: MissingPolicy = .fail

  @Option(
    name: .customLong("bad-rows"),
    help: ArgumentHelp("Rows that are NaN, infinite or zero: fail, or skip and leave holes.", valueName: "policy"))
  var badRows: BadRowsPolicy = .fail

  /// The options of a build.
  ///
  /// - Parameter fetches: Whether shards that are not in the lake will be fetched.
  /// - Returns: The options.
  /// - Throws: ``TarnError`` `.usage` for ranges that are none.
  func options(fetching fetches: Bool) throws -> BuildOptions {
    var options = BuildOptions(
      name: name, trained: trained, images: images, ordinals: try range.ordinals(),
      shardsPerOutput: shardsPerOutput ?? BuildOptions.shardsPerOutputAtFirst, missing: missing, badRows: badRows,
      fetches: fetches, environment: Tool.environment)
    options.isLayoutGiven = shardsPerOutput != nil
    return options
  }
}

/// `tarn build`: make an index version.
struct Build: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build", abstract: "Build an index version: FAISS files over the shards of a source.",
    discussion: """
      The outputs lie in LAKE/versions/NAME@N. What was built before from the same bytes is used again; new or changed
      shards make the next version, with as many shards in each output as the last one, so that both share files; a
      warning says where another trained index or another --shards-per-output leaves none to share. Shards that are not in the lake are fetched meanwhile; within --budget, the room of
      those that are encoded is used again; without it nothing is evicted. It begins only if the disk has room for all that
      it will write, and what must stay free.

      EXAMPLES
        tarn build laion --trained clip --images images
        tarn build laion --trained clip --images images --shards 0-79 --shards-per-output 40 --missing skip --budget 100GB
        tarn build laion --trained clip --images images --executor slurm --at-a-time 16

      With --executor the outputs are made by `tarn worker` processes, on a cluster or on this machine, and taken in as they
      come; what failed is submitted again. Stopped, it lets go of them: the same command attaches again. --per-host and
      --bwlimit are then of all workers together, each of which takes its share (--at-a-time).

      --dry-run makes the checks of the build, measures this machine for a few seconds and says what each step would take
      (DESIGN 4.1b); nothing is written.

      Interrupt it at any time: the same command continues.

      \(ExitStatus.help)
      """)

  @OptionGroup var what: BuildArguments

  @OptionGroup var cost: CostOption

  @Flag(help: "Fetch nothing: use what is in the lake.")
  var offline = false

  @Option(help: ArgumentHelp("Most bytes of shards to hold, e.g. 100GB.", valueName: "size"))
  var budget: ByteSize?

  @OptionGroup var transfer: TransferOptions

  @Option(
    name: .customLong("per-host"),
    help: ArgumentHelp(
      "With --executor: most transfers at a time from one host, of all workers together.", valueName: "n"))
  var perHost: Int?

  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions
  @OptionGroup(title: EngineOptions.title) var engine: EngineOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    try engine.validate(beside: ["--offline": offline, "--budget": budget != nil])
    guard perHost == nil || engine.executor != nil else { throw ValidationError("--per-host goes with --executor.") }
    guard (1...4096).contains(perHost ?? 1) else { throw ValidationError("--per-host is 1 to 4096.") }
    guard !offline || !transfer.isSaid else {
      throw ValidationError("--offline fetches nothing; --jobs, --bwlimit and --patience do not go with it.")
    }
    guard !offline || !commands.allowCommands else {
      throw ValidationError("--offline fetches nothing; --allow-commands does not go with it.")
    }
  }

  func run() async throws {
    let options = try what.options(fetching: !offline)
    guard !cost.dryRun else { return try await tellCost(of: options) }
    if let executor = engine.executor { return try await build(options, on: executor) }
    let name = options.name
    let catalog = try writer.open(global, "build \(name)", keeping: room, leasing: options.leases)
    let progress = global.progress("build \(name)")
    var fetch = transfer.options()
    fetch.budget = budget?.byteCount
    fetch.fetch.commands = commands.rules
    fetch.fetch.followLimit(of: catalog)
    let run = BuildRun(
      catalog, try options.following(catalog), logger: global.logger("tarn.build"), cancellation: global.cancellation,
      report: progress.show)
    let revisions = FetchedRevisions()
    let (version, isNew, times) = try await run.run(fetching: fetch, follow: revisions.following(progress))
    try conclude(version, isNew: isNew, times, revisions, catalog, progress)
  }

  private func tellCost(of options: BuildOptions) async throws {
    guard engine.executor != nil else { return try await global.tellCost(of: options, within: budget, keeping: room) }
    try await global.tellCost(of: options, keeping: room) { try planning($0, options) }
  }

  /// What writes it as tasks.
  private func planning(_ catalog: LakeCatalog, _ options: BuildOptions) throws -> TaskPlanning {
    let bandwidth = transfer.bwlimit?.text
    let limits =
      perHost == nil && bandwidth == nil
      ? nil : try SharedLimits(perHost: perHost, bandwidth: bandwidth, amongWorkers: engine.workerCount)
    let fetch = transfer.options()
    let workerOptions =
      ["--jobs", "\(fetch.fetch.jobs)", "--patience", "\(Int(fetch.patience.seconds))s"] + commands.words
    let access = global.storeAccess(patience: transfer.waits)
    return TaskPlanning(
      catalog, try options.following(catalog), logger: global.logger("tarn.build"), cancellation: global.cancellation
    ) { [engine] version in
      let directory = try engine.directory(of: "\(version)", in: catalog, access)
      return (directory, try engine.scripts(in: directory, workerOptions: workerOptions, limits: limits))
    }
  }

  /// Has other processes build it, and takes in what they make.
  private func build(_ options: BuildOptions, on executor: EngineChoice) async throws {
    let catalog = try writer.open(
      global, "ingest", options.name,
      on: [.version: [options.name], .training: [options.trained], .source: [options.images]], keeping: room)
    let progress = global.progress("build \(options.name)")
    let planned = try await planning(catalog, options)
      .run(asking: SyncOptions(patience: transfer.waits), follow: progress.showFetching)
    if planned.isMended { progress.note(Plan.mending) }
    let wasSealed = planned.version.state == .sealed
    var summary: IngestSummary?
    if !wasSealed {
      global.cancellation.listen()
      let workers = engine.engine(
        executor, planned.directory, planned.scripts, of: "\(planned.version.name)")
      summary = try await ThreadedWork("tarn-follow") { [global] in
        let ingest = TaskIngest(
          catalog, planned.directory, logger: global.logger("tarn.build"), cancellation: global.cancellation,
          report: progress.show)
        return try ingest.follow(
          TaskFollowing(planned.directory, on: workers, cancellation: global.cancellation, report: progress.show))
      }.value()
    }
    progress.clear()
    if let summary, !summary.isSealed {
      for (task, failure) in summary.open {
        Output.diagnostic("tarn: task \(task): \(failure?.words ?? "no receipt")")
      }
      throw Outcome(
        summary.refused.isEmpty ? .partial : .integrity,
        "\(summary.open.count) of \(summary.taskCount.counted("task")) are open",
        hint: "logs are in \(planned.directory.logs)")
    }
    // A directory that nobody named is nobody's to look after.
    if engine.tasks == nil { try planned.directory.clean() }
    try conclude(
      try catalog.version(planned.version.name), isNew: !wasSealed, OutputTimes(), FetchedRevisions(), catalog, progress
    )
  }

  private func conclude(
    _ version: IndexVersion, isNew: Bool, _ times: OutputTimes, _ revisions: FetchedRevisions, _ catalog: LakeCatalog,
    _ progress: ProgressLine
  ) throws {
    progress.clear()
    let outputs = try catalog.outputs(of: version)
    if global.json {
      Output.json([
        "version": .string("\(version.name)"), "new": .bool(isNew), "sha256": .optional(version.versionDigest?.hex),
        "outputs": .array(
          outputs.map { output -> JSONValue in
            let refine = output.refine.map { refine in
              JSONValue.object([
                "path": .string(catalog.layout.refinePath(version.name, ordinal: output.ordinal)),
                "sha256": .string(refine.digest.hex), "bytes": .count(refine.byteCount),
              ])
            }
            return .object([
              "path": .string(catalog.layout.outputPath(version.name, ordinal: output.ordinal)),
              "sha256": .string(output.digest.hex), "rows": .count(output.rowCount), "bytes": .count(output.byteCount),
              "refine": refine ?? .null,
            ])
          }),
        "revised": revisions.json, "peak_memory_bytes": .optionalCount(Tool.peakByteCount),
        "seconds": .object([
          "waiting": .number(times.waiting.seconds), "hashing": .number(times.hashing.seconds),
          "encoding": .number(times.encoding.seconds), "merging": .number(times.merging.seconds),
        ]),
      ])
    } else {
      if isNew, engine.executor == nil { progress.note("time: \(times.summary)") }
      let rows = outputs.reduce(0) { $0 + $1.rowCount }
      Output.line(
        "\(version.name) \(isNew ? "is sealed" : "was sealed before"): \(rows.counted("row")) in "
          + "\(outputs.fileCount.counted("file")), \(ByteSize.text(outputs.wholeByteCount)), "
          + "sha256 \(version.versionDigest?.prefix(16) ?? "")…")
    }
    if isNew { catalog.warnOfExcludedRows(version.name, "what was sealed has", since: "it was planned") }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows a build's or a rebuild's progress.
  func show(_ event: BuildProgress) {
    switch event {
    case .encoding(let shard, let done, let rows):
      update(done: Double(done), total: Double(rows), rateOf: "rows") { "encoding \(shard), \(done)/\(rows) rows" }
    case .merging(let output, let count):
      update(done: Double(output), total: Double(count)) { "merging output \(output + 1)/\(count)" }
    case .finished(let output, let count, let byteCount):
      note("output \(output + 1)/\(count) finished, \(ByteSize.text(byteCount))")
    }
  }
}

extension OutputTimes {
  /// Where the time went, the bottleneck first.
  fileprivate var summary: String {
    let parts = [
      ("waiting for shards", waiting), ("hashing", hashing), ("encoding", encoding), ("merging", merging),
    ]
    return parts.sorted { $0.1 > $1.1 }.map { name, time in String(format: "\(name) %.1f s", time.seconds) }
      .joined(separator: ", ")
  }
}
