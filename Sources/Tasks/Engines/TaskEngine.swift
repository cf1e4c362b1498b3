// What carries tasks out: a cluster's scheduler or processes of this machine. It is
// asked only to take tasks and whether it still has them; which are done is said by
// receipts.

internal import Base
package import Foundation
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

/// What an engine knows of tasks.
package struct EngineStanding: Sendable, Equatable {
  package var queued: Set<Int> = []
  package var running: Set<Int> = []
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
package final class LocalEngine: TaskEngine {
  package let interval = Duration.milliseconds(100)

  private struct State {
    var waiting: Queue<Int> = Queue()
    var running: [Int: Process] = [:]
    var submitted: Set<Int> = []
    var isLeaving = false
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

  private func start() throws {
    try state.withLock { state in
      while !state.isLeaving, state.running.count < atATime, let task = state.waiting.popFirst() {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = [String](command.dropFirst()) + ["--task", "\(task)", "--quiet"]
        process.currentDirectoryURL = URL(fileURLWithPath: directory.path)
        var environment = ProcessInfo.processInfo.environment
        if (environment[ThreadCount.variable] ?? "").isEmpty {
          environment[ThreadCount.variable] = "\(max(1, ProcessInfo.processInfo.activeProcessorCount / atATime))"
        }
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        let log = "\(directory.logs)/\(Self.logName(task))"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let handle = FileHandle(forWritingAtPath: log) ?? .nullDevice
        process.standardOutput = handle
        process.standardError = handle
        process.terminationHandler = { [weak self] process in self?.ended(task, process) }
        do {
          try process.run()
        } catch {
          throw TarnError(.io, "cannot run \(command[0]): \(error.localizedDescription)")
        }
        try? handle.close()
        state.running[task] = process
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
  ///   - process: The worker.
  package func ended(_ task: Int, _ process: Process) {
    state.withLock { state in
      if state.running[task] === process { state.running[task] = nil }
    }
    try? start()
  }

  package func standing() throws -> EngineStanding {
    state.withLock { state in state.running = state.running.filter { $0.value.isRunning } }
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
      return state.running
    }
    for process in running.values where process.isRunning { process.terminate() }
    for process in running.values { process.waitUntilExit() }
    return "the workers of this machine were stopped; the same command goes on behind what they kept"
  }
}
