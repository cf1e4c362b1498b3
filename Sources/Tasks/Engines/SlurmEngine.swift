// Slurm as an engine: arrays of the script that lies beside the tasks. Accounting may
// be off, jobs leave the queue some time after they ended, and a controller that is
// started anew does not answer for a while: so nothing is read from it but which tasks
// are in its queue, and silence is no answer.
//
// What is about to be submitted is noted first, under a name that no other array has: who
// attaches after a kill between the two asks for it by that name, and has no task twice.

internal import Base
internal import Foundation

/// A process that was run to its end.
package struct Ran: Sendable {
  package let status: Int
  package let output: String
  package let errors: String

  package init(status: Int, output: String, errors: String) {
    self.status = status
    self.output = output
    self.errors = errors
  }
}

/// Hands tasks to Slurm.
package final class SlurmEngine: TaskEngine {
  /// One array that was submitted, or is about to be.
  struct Job: Sendable, Equatable, Codable {
    /// Its number; empty until `sbatch` said it.
    var id: String
    let offset: Int
    let tasks: [Int]
    /// Where several clusters can be submitted to: which one has it.
    var cluster: String?
    /// What it is called in the queue; nil of what an older tarn submitted.
    var name: String?
  }

  private let directory: TaskDirectory
  private let atATime: Int?
  private let arguments: [String]
  private let subject: String
  private let run: @Sendable ([String]) throws -> Ran

  package let interval = Duration.seconds(2)

  /// Prepares to submit.
  ///
  /// - Parameters:
  ///   - directory: Where tasks and the script lie.
  ///   - atATime: Most tasks of an array at a time; nil for what Slurm allows.
  ///   - arguments: More arguments of `sbatch`.
  ///   - subject: What the tasks are of: jobs are called after it.
  ///   - run: Runs a command and gives what it said.
  package init(
    _ directory: TaskDirectory, atATime: Int?, arguments: [String], subject: String = "",
    run: @escaping @Sendable ([String]) throws -> Ran = SlurmEngine.run
  ) {
    self.directory = directory
    self.atATime = atATime
    self.arguments = arguments
    self.subject = String(subject.filter { Self.nameCharacters.contains($0) }.prefix(80))
    self.run = run
  }

  /// What a controller that does not answer makes the commands say.
  private static let silences = [
    "Unable to contact", "Connection refused", "Connection timed out", "Connection reset", "Socket timed out",
    "Zero Bytes were transmitted", "temporarily unable",
  ]

  package func submit(_ tasks: [Int]) throws {
    // Of these nothing came, for long enough that they are submitted again.
    let wanted = Set(tasks)
    try keep(jobs().filter { !($0.id.isEmpty && !wanted.isDisjoint(with: $0.tasks)) })
    for chunk in TaskScripts.chunks(tasks.sorted(), arraySize: try arraySize()) {
      let name = "tarn-\(subject)-" + String(UInt64.random(in: .min ... .max), radix: 16)
      let command =
        [
          "sbatch", "--parsable", "--chdir=\(directory.path)", "--array=\(chunk.indexes(atATime: atATime))",
          "--export=ALL,TARN_TASK_OFFSET=\(chunk.offset)",
        ] + arguments + ["--job-name=\(name)", "slurm.sh"]
      let before = try jobs()
      var job = Job(id: "", offset: chunk.offset, tasks: chunk.tasks, name: name)
      try keep(before + [job])
      let done: Ran
      do {
        done = try run(command)
      } catch {
        // It was not run.
        try keep(before)
        throw error
      }
      // `id`, or `id;cluster`; a cluster may say more before it.
      let answer = done.output.split(separator: "\n").last?.split(separator: ";") ?? []
      let id = answer.first?.trimmingCharacters(in: .whitespaces) ?? ""
      guard done.status == 0, Self.isID(id) else {
        // Who was not answered may have been heard.
        let isSilent = Self.silences.contains { done.errors.contains($0) }
        if !isSilent { try keep(before) }
        throw TarnError(
          isSilent ? .temporary : .refused, "sbatch took no tasks: \(done.errors.firstLine)",
          hint: "what was submitted goes on; the same command submits the rest")
      }
      job.id = id
      job.cluster = answer.count > 1 ? answer[1].trimmingCharacters(in: .whitespaces) : nil
      try keep(before + [job])
    }
  }

  /// What a job is called with, so that it is one name in a list of them.
  private static let nameCharacters = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-")

  /// Where `sbatch` was told to go, `squeue` is told to look.
  private var clusters: [String] {
    arguments.filter { $0.hasPrefix("--clusters=") || $0.hasPrefix("-M") && $0.count > 2 }
  }

  /// The number of an array that was about to be submitted, if the queue has it.
  ///
  /// - Returns: The job with its number, where it is there; nil where nobody answered.
  private func adopted(_ job: Job) throws -> Job? {
    guard let name = job.name else { return job }
    let done = try run(
      ["squeue", "--noheader", "--states=all", "--name=\(name)", "--format=%F"] + clusters)
    guard done.status == 0 else { return nil }
    var found = job
    // A cluster that is named says so in a line of its own.
    for line in done.output.split(separator: "\n") {
      let text = line.trimmingCharacters(in: .whitespaces)
      if text.hasPrefix("CLUSTER: ") { found.cluster = String(text.dropFirst("CLUSTER: ".count)) }
      guard Self.isID(text) else { continue }
      found.id = text
      return found
    }
    return job
  }

  private static func isID(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy(\.isDigit)
  }

  /// The largest index of an array, and one more, as this cluster is configured.
  private func arraySize() throws -> Int {
    let done = try run(["scontrol", "show", "config"])
    let line = done.output.split(separator: "\n").first { $0.hasPrefix("MaxArraySize") }
    return line?.split(separator: "=").last.flatMap { Int($0.trimmingCharacters(in: .whitespaces)) } ?? 1001
  }

  package func standing() throws -> EngineStanding {
    var standing = EngineStanding()
    for var job in try jobs() {
      standing.submitted.formUnion(job.tasks)
      if job.id.isEmpty {
        guard let adopted = try adopted(job) else {
          standing.isKnown = false
          continue
        }
        guard !adopted.id.isEmpty else { continue }
        try keep(jobs().map { $0 == job ? adopted : $0 })
        job = adopted
      }
      // One by one: a job that is forgotten makes an error of the whole question.
      let done = try run(
        ["squeue", "--noheader", "--array", "--states=all", "--jobs=\(job.id)", "--format=%i|%T|%r"]
          + (job.cluster.map { ["--clusters=\($0)"] } ?? []))
      guard done.status == 0 else {
        if done.errors.contains("Invalid job id") { continue }
        standing.isKnown = false
        continue
      }
      for (task, isRunning, held) in Self.tasks(in: done.output, of: job) {
        if isRunning { standing.running.insert(task) } else { standing.queued.insert(task) }
        standing.held[task] = held
      }
    }
    return standing
  }

  /// The tasks that an answer of `squeue` names: those whose workers may still run or start.
  static func tasks(in output: String, of job: Job) -> [(task: Int, isRunning: Bool, held: HeldTask?)] {
    // One that is preempted and comes back is pending; such a state by itself is an end.
    let over: Set<Substring> = [
      "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "CANCELLED",
      "REVOKED", "PREEMPTED",
    ]
    return output.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "|", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count > 1, let index = parts[0].split(separator: "_").last.flatMap({ Int($0) }),
        !over.contains(parts[1])
      else { return nil }
      let isRunning = ["RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT"].contains(parts[1])
      let reason = parts.count > 2 ? parts[2].trimmingCharacters(in: .whitespaces) : ""
      let held = isRunning ? nil : Self.held(String(parts[1]), reason, index, of: job)
      return (index + job.offset, isRunning, held)
    }
  }

  /// What keeps a task in the queue for good: it was held, by hand or by Slurm after its node could not start it.
  private static func held(_ state: String, _ reason: String, _ index: Int, of job: Job) -> HeldTask? {
    guard ["REQUEUE_HOLD", "SPECIAL_EXIT"].contains(state) || reason.lowercased().contains("held") else { return nil }
    let (cluster, id) = (job.cluster.map { "--clusters=\($0.printable) " } ?? "", "\(job.id)_\(index)")
    return HeldTask(
      reason: (["", "None"].contains(reason) ? state : reason).printable,
      way: "`scontrol \(cluster)release \(id)` lets it go on, `scancel \(cluster)\(id)` has it submitted again")
  }

  package func detach() -> String { "what was submitted goes on; the same command attaches again" }

  // MARK: Jobs

  private func jobs() throws -> [Job] { try Self.jobs(in: directory) }

  private static func jobsPath(_ directory: TaskDirectory) -> String { directory.path + "/jobs.json" }

  /// What was submitted, as the note of it in a directory says; the last of a task counts.
  static func jobs(in directory: TaskDirectory) throws -> [Job] {
    let jobsPath = jobsPath(directory)
    guard Disk.size(of: jobsPath) != nil else { return [] }
    let bytes = try Disk.contents(of: jobsPath, atMost: 1 << 24)
    guard let jobs = try? JSONDecoder().decode([Job].self, from: Data(bytes)),
      jobs.allSatisfy({ job in
        let isNamed =
          job.name.map { !$0.isEmpty && $0.allSatisfy { Self.nameCharacters.contains($0) } } ?? !job.id.isEmpty
        return (job.id.isEmpty || Self.isID(job.id)) && isNamed && ForeignNumber.ordinal.holds(job.offset)
          && job.tasks.allSatisfy { ForeignNumber.ordinal.holds($0) }
      })
    else {
      throw TarnError(
        .integrity, "\(jobsPath) does not say which jobs were submitted", hint: "remove it when none of them is queued")
    }
    return jobs
  }

  private func keep(_ jobs: [Job]) throws {
    try Disk.writeAtomically(try JSONEncoder().encode(jobs), to: Self.jobsPath(directory))
  }

  /// Runs a command of the system.
  ///
  /// - Parameter command: The program and its arguments.
  /// - Returns: What it said; of one that a signal ended, the signal as its status.
  /// - Throws: ``TarnError`` `.usage` where there is no such program, `.io`.
  package static func run(_ command: [String]) throws -> Ran {
    // What a user has set for his own looks at the queue would hide tasks. What a scheduler is told goes on, whatever
    // becomes of tarn.
    let child = ChildRun(
      command, environment: ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("SQUEUE_") },
      heard: [.output, .errors], isLeftAlone: true)
    var (output, errors): ([UInt8], [UInt8]) = ([], [])
    let ended: ChildRun.Outcome
    do throws(TarnError) {
      ended = try child.run(refusal: .usage) { stream, piece in
        if stream == .output { output += piece } else { errors += piece }
        return true
      }
    } catch {
      guard error.code == .usage else { throw error }
      throw TarnError(.usage, error.message, hint: "run it where Slurm's commands are, or give --executor local:N")
    }
    return Ran(
      status: Int(ended.signal ?? ended.end), output: String(decoding: output, as: UTF8.self),
      errors: String(decoding: errors, as: UTF8.self))
  }
}

extension String {
  /// The first line, as it may be shown.
  fileprivate var firstLine: String { String(split(separator: "\n").first ?? "it says nothing").printable }
}
