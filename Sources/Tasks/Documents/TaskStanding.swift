// How far the tasks of a directory are, as what lies there tells it: no scheduler is asked
// and no document of a task that is done is read, so that it costs little for many.

internal import Base
internal import Foundation

/// How far the tasks of a plan are.
package struct TaskStanding: Sendable, Equatable {
  /// How far one of them is.
  package enum State: String, Sendable, CaseIterable {
    /// It has a receipt; `ingest` says whether that holds.
    case done
    /// It was begun, and left neither receipt nor word.
    case running
    /// An engine was handed it.
    case queued
    /// Its last worker left word of what ended it.
    case failed
    /// Nobody was handed it, as far as the directory tells.
    case open
  }

  package let plan: TaskPlan
  /// By number.
  package let states: [State]
  /// What ended workers of tasks that failed, in order.
  package let failures: [Failure]

  /// A task that failed.
  package struct Failure: Sendable, Equatable {
    package let task: Int
    package let word: TaskFailure
  }

  /// A task that is running as far as is known, and of which nothing was heard for long: its worker may wait for hosts,
  /// merge, or be dead.
  package struct Silence: Sendable, Equatable {
    package let task: Int
    /// Since its log was last written to.
    package let length: Duration

    /// How far the task is.
    package var words: String { "was running, last heard of \(TimeSpan.text(seconds: length.seconds)) ago" }
  }

  /// A worker that works says so more often than that.
  static let longSilence = Duration.seconds(3_600)

  /// Tasks among the running ones of which nothing was heard for long, in order.
  package let silences: [Silence]

  package func count(of state: State) -> Int { states.lazy.filter { $0 == state }.count }

  /// How many are how far, on one line; states that none is in are left out.
  package var summary: String {
    let parts = State.allCases.flatMap { state -> [String] in
      let silent = state == .running ? silences : []
      let heard = count(of: state) - silent.count
      let known = heard == 0 ? [] : ["\(heard) \(state.rawValue)"]
      guard let least = silent.min(by: { $0.length < $1.length }) else { return known }
      let many = "were running, last heard of \(TimeSpan.text(seconds: least.length.seconds)) ago or longer"
      return known + ["\(silent.count) \(silent.count == 1 ? least.words : many)"]
    }
    return "\(states.count.counted("task"))" + (parts.isEmpty ? "" : ": " + parts.joined(separator: ", "))
  }
}

extension TaskDirectory {
  /// How far its tasks are.
  ///
  /// - Parameters:
  ///   - plan: The plan.
  ///   - open: Tasks without a receipt that fits, where receipts were read; nil to go by
  ///     their names.
  /// - Returns: The state of each task.
  /// - Throws: ``TarnError`` where the directory, or an engine's note in it, cannot be read.
  package func standing(of plan: TaskPlan, open: Set<Int>? = nil) throws -> TaskStanding {
    let receipts = try receiptNames()
    let noted = try failedTasks()
    let (submitted, begun) = try (SlurmEngine.jobs(in: self), logNames())
    var job: [Int: SlurmEngine.Job] = [:]
    for one in submitted { for task in one.tasks { job[task] = one } }
    var (failures, silences): ([TaskStanding.Failure], [TaskStanding.Silence]) = ([], [])
    let states = plan.tasks.indices.map { number -> TaskStanding.State in
      if open.map({ !$0.contains(number) }) ?? (receipts[number] != nil) { return .done }
      if noted.contains(number), let word = failure(of: number), word.task == plan.tasks[number] {
        failures.append(TaskStanding.Failure(task: number, word: word))
        return .failed
      }
      // Of tasks that were handed over by hand, nothing but their logs is known.
      var written = [LocalEngine.logName(number), TaskScripts.logName(number)]
      if let job = job[number] { written = ["\(job.id)_\(number - job.offset).log"] }
      written = written.filter(begun.contains)
      guard !written.isEmpty else { return job[number] == nil ? .open : .queued }
      if let length = silence(of: written + [TaskScripts.logName(number)]), length >= TaskStanding.longSilence {
        silences.append(TaskStanding.Silence(task: number, length: length))
      }
      return .running
    }
    return TaskStanding(plan: plan, states: states, failures: failures, silences: silences)
  }

  /// How long ago any of these logs was written to, or laid as a link to another; nil where that cannot be told.
  private func silence(of names: [String]) -> Duration? {
    let times = names.flatMap { name -> [Duration?] in
      let path = "\(logs)/\(name)"
      let link = (try? FileManager.default.attributesOfItem(atPath: path))?[.modificationDate] as? Date
      return [Disk.modifiedAt(path), link.map { Duration.seconds($0.timeIntervalSince1970) }]
    }
    return times.compactMap(\.self).max().map { Duration.seconds(Date.now.timeIntervalSince1970) - $0 }
  }
}
