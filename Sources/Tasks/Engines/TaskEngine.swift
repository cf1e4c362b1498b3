// What carries tasks out: a cluster's scheduler or processes of this machine. It is
// asked only to take tasks and whether it still has them; which are done is said by
// receipts.

package import Base
internal import Foundation
internal import Glibc
internal import Synchronization

/// Which engine a user means.
package enum EngineChoice: Sendable, Equatable {
  case slurm
  /// So many processes of this machine at a time.
  case local(Int)

  /// Reads `slurm` or `local:N`; nil for anything else.
  package init?(parsing text: String) {
    if text == "slurm" {
      self = .slurm
    } else if text.hasPrefix("local:"), let count = Int(text.dropFirst("local:".count)), (1...1024).contains(count) {
      self = .local(count)
    } else {
      return nil
    }
  }
}

/// Why a task that an engine has does not start, whatever time passes.
package struct HeldTask: Sendable, Equatable {
  /// As the engine says it.
  package let reason: String
  /// What lets it go on, or has it submitted again.
  package let way: String
}

/// What an engine knows of tasks.
package struct EngineStanding: Sendable, Equatable {
  package var queued: Set<Int> = []
  package var running: Set<Int> = []
  /// Those of the queue that do not start until somebody does something about it.
  package var held: [Int: HeldTask] = [:]
  /// Tasks that it was handed, by an earlier run too: over where it does not have them.
  package var submitted: Set<Int> = []
  /// Whether it answered; what it did not say of a task then means nothing.
  package var isKnown = true

  package init() {}

  package func has(_ task: Int) -> Bool { queued.contains(task) || running.contains(task) }
}

/// Carries tasks out.
package protocol TaskEngine: Sendable {
  /// Takes tasks; it has them from then on, until their workers ended.
  ///
  /// - Throws: ``TarnError`` when it refuses.
  func submit(_ tasks: [Int]) throws
  /// What it has.
  ///
  /// - Throws: ``TarnError`` where nothing can be asked any more.
  func standing() throws -> EngineStanding
  /// How often it is worth asking.
  var interval: Duration { get }
  /// Lets go: what outlives this process goes on.
  ///
  /// - Returns: What becomes of the tasks, for people.
  func detach() -> String
}

/// Processes of this machine, a few at a time.
///
/// A task waits, or is with a worker that runs or has ended and is still on the system's list: it is taken off that, and
/// its task let go, under one lock, by whoever sees its end first. So no number of a worker is another process's.
package final class LocalEngine: TaskEngine {
  package let interval = Duration.milliseconds(100)

  private struct State {
    var waiting: Queue<Int> = Queue()
    var running: [Int: ChildProcess] = [:]
    var submitted: Set<Int> = []
    var isLeaving = false

    /// Lets go the tasks of workers that have ended.
    mutating func letGo() {
      for (task, worker) in running where worker.look() != nil {
        worker.reap()
        running[task] = nil
      }
    }
  }

  private let directory: TaskDirectory
  private let command: [String]
  private let atATime: Int
  private let state = Mutex(State())

  /// Prepares to run workers.
  ///
  /// - Parameters:
  ///   - directory: Where the tasks lie.
  ///   - command: The tool and the options of a worker.
  ///   - atATime: Processes at a time; they share the machine's cores.
  package init(_ directory: TaskDirectory, command: [String], atATime: Int) {
    self.directory = directory
    self.command = command
    self.atATime = atATime
  }

  /// What a worker says goes into a file of this name, from when it begins.
  static func logName(_ task: Int) -> String { "local_\(task).log" }

  package func submit(_ tasks: [Int]) throws {
    state.withLock { state in
      for task in tasks { state.waiting.append(task) }
      state.submitted.formUnion(tasks)
    }
    try start()
  }

  /// Ours, and how many threads each of the workers has.
  private var environment: [String: String] {
    var environment = ProcessInfo.processInfo.environment
    if (environment[ThreadCount.variable] ?? "").isEmpty {
      environment[ThreadCount.variable] = "\(max(1, ProcessInfo.processInfo.activeProcessorCount / atATime))"
    }
    return environment
  }

  private func start() throws {
    try state.withLock { state in
      while !state.isLeaving, state.running.count < atATime, let task = state.waiting.popFirst() {
        let log = open("\(directory.logs)/\(Self.logName(task))", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        defer { if log >= 0 { close(log) } }
        // What it keeps is of use, whatever becomes of tarn.
        let worker = try ChildProcess(
          command + ["--task", "\(task)", "--quiet"], environment: environment, directory: directory.path,
          streams: [-1, log, log], outlivesThread: true, refusal: .io)
        state.running[task] = worker
        // Without a thread its end is seen by the next look.
        _ = ThreadedWork("tarn-local") { [weak self] in
          worker.waitForEnd()
          self?.ended(task, worker)
        }
      }
    }
  }

  /// A worker ended, and the next begins at once.
  ///
  /// One that cannot be started is found at the next look. The system may say so late: a look may have seen it
  /// before, and the task may be with another process by then, which stays.
  ///
  /// - Parameters:
  ///   - task: The task that it was at.
  ///   - worker: The worker.
  package func ended(_ task: Int, _ worker: ChildProcess) {
    state.withLock { state in
      if state.running[task] == worker { state.letGo() }
    }
    try? start()
  }

  package func standing() throws -> EngineStanding {
    state.withLock { $0.letGo() }
    try start()
    return state.withLock { state in
      var standing = EngineStanding()
      standing.queued = Set(state.waiting.elements)
      standing.running = Set(state.running.keys)
      standing.submitted = state.submitted
      return standing
    }
  }

  package func detach() -> String {
    let running = state.withLock { state in
      state.isLeaving = true
      for worker in state.running.values { worker.signal(SIGTERM) }
      return state.running
    }
    for worker in running.values { worker.waitForEnd() }
    state.withLock { $0.letGo() }
    return "the workers of this machine were stopped; the same command goes on behind what they kept"
  }
}
