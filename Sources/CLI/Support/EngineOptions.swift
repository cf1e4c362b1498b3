// The options of the verbs that can have other processes do their work.

internal import ArgumentParser
internal import Base
internal import Lake

extension EngineChoice: ExpressibleByArgument {
  public init?(argument: String) { self.init(parsing: argument) }
}

/// Who carries tasks out.
struct EngineOptions: ParsableArguments {
  /// Above them in `--help`.
  static let title = "Work by others"

  @Option(
    help: ArgumentHelp(
      "Who does the work: slurm, or local:N for N processes of this machine (default: this process).",
      valueName: "engine"))
  var executor: EngineChoice?

  @Option(
    help: ArgumentHelp(
      "With --executor: directory of the tasks, which every worker sees (default: in LAKE/tasks).", valueName: "dir"),
    completion: .directory)
  var tasks: String?

  @Option(
    name: .customLong("at-a-time"), help: ArgumentHelp("With --executor slurm: most tasks at a time.", valueName: "n"))
  var atATime: Int?

  /// How many work at a time, where that is said.
  var workerCount: Int? { if case .local(let count)? = executor { count } else { atATime } }

  @Option(
    name: .customLong("sbatch-args"), parsing: .unconditional,
    help: ArgumentHelp(
      "With --executor slurm: more arguments of sbatch, e.g. '--partition=cpu --time=4:00:00'; jobs are named by tarn.",
      valueName: "arguments")
  )
  var sbatchArguments: String?

  /// Refuses what does not go together.
  ///
  /// - Parameter others: Options that say how this process fetches, and whether they are given.
  /// - Throws: `ValidationError` naming the options.
  func validate(beside others: [String: Bool]) throws {
    guard executor != nil else {
      guard tasks == nil, atATime == nil, sbatchArguments == nil else {
        throw ValidationError("--tasks, --at-a-time and --sbatch-args go with --executor.")
      }
      return
    }
    guard atATime == nil && sbatchArguments == nil || executor == .slurm else {
      throw ValidationError("--at-a-time and --sbatch-args go with --executor slurm.")
    }
    guard tasks?.isStoreAddress != true else {
      throw ValidationError(
        "With --executor, --tasks is a directory; for a store: `tarn plan`, the lines of run.txt, and `tarn ingest`.")
    }
    guard atATime ?? 1 >= 1 else { throw ValidationError("--at-a-time is at least 1.") }
    if let other = others.filter(\.value).keys.min() {
      throw ValidationError("\(other) is of a build in this process; it does not go with --executor.")
    }
  }

  /// Where the tasks of something go; their results may be in a store.
  ///
  /// - Throws: ``TarnError`` where a plan that is there cannot be read.
  func directory(of subject: String, in catalog: LakeCatalog, _ access: StoreAccess) throws -> TaskDirectory {
    try TaskDirectory.open(absolute(tasks ?? "\(catalog.layout.tasks)/\(subject)"), access)
  }

  /// What is written beside the tasks, and says how many there are of a search.
  ///
  /// - Parameters:
  ///   - directory: Where they go: what was written there before decides what is not said.
  ///   - workerOptions: Options of every worker.
  ///   - limits: Limits of all workers together.
  /// - Returns: The scripts.
  /// - Throws: ``TarnError`` where this tarn's file cannot be told.
  func scripts(
    in directory: TaskDirectory, workerOptions: [String], limits: SharedLimits? = nil
  ) throws -> TaskScripts {
    var scripts = try TaskScripts(keptIn: directory) ?? TaskScripts(tarn: Tool.executablePath())
    scripts.tarn = try Tool.executablePath()
    if let atATime { scripts.atATime = atATime }
    scripts.workerOptions = workerOptions
    scripts.limits = limits
    return scripts
  }

  /// What carries them out.
  func engine(
    _ choice: EngineChoice, _ directory: TaskDirectory, _ scripts: TaskScripts, of subject: String
  ) -> any TaskEngine {
    switch choice {
    case .slurm:
      SlurmEngine(
        directory, atATime: atATime,
        arguments: sbatchArguments?.split(separator: " ").map(String.init) ?? [], subject: subject)
    case .local(let count):
      LocalEngine(directory, command: [scripts.tarn] + scripts.workerArguments(in: directory), atATime: count)
    }
  }
}

extension ProgressLine {
  /// Shows how far the tasks of others are.
  func show(_ event: FollowProgress) {
    switch event {
    case .standing(let done, let running, let queued, let count):
      update(done: Double(done), total: Double(count)) {
        "\(done) of \(count) tasks done, \(running) running, \(queued) queued"
      }
    case .submitted(let tasks, let isAgain, let failure):
      let reason = failure.map { ": \($0.words)" } ?? ""
      note("\(tasks.count.counted("task")) submitted\(isAgain ? " again" : "")\(reason)")
    case .gaveUp(let task, let failure):
      note(
        "task \(task) is given up: \(failure?.words ?? "no receipt, and no word of it")"
      )
    case .held(let tasks, let why):
      // Nothing goes on with them until somebody acts.
      let (are, which) = tasks.count == 1 ? ("is", "task") : ("are", "tasks")
      Output.warn("\(which) \(tasks.map(String.init).listed()) \(are) held in the queue: \(why.reason); \(why.way)")
    case .ingest(let event): show(event)
    case .round(let step): note("\(step): searched by others")
    case .silent: note("the scheduler does not answer; it is asked again")
    }
  }
}
