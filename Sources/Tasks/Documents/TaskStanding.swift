// How far the tasks of a directory are, as what lies there tells it: no scheduler is asked
// and no document of a task that is done is read, so that it costs little for many.

internal import Base

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

  package func count(of state: State) -> Int { states.lazy.filter { $0 == state }.count }

  /// How many are how far, on one line; states that none is in are left out.
  package var summary: String {
    let parts = State.allCases.compactMap { state in
      count(of: state) == 0 ? nil : "\(count(of: state)) \(state.rawValue)"
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
    var failures: [TaskStanding.Failure] = []
    let states = plan.tasks.indices.map { number -> TaskStanding.State in
      if open.map({ !$0.contains(number) }) ?? (receipts[number] != nil) { return .done }
      if noted.contains(number), let word = failure(of: number), word.task == plan.tasks[number] {
        failures.append(TaskStanding.Failure(task: number, word: word))
        return .failed
      }
      if let job = job[number] {
        return begun.contains("\(job.id)_\(number - job.offset).log") ? .running : .queued
      }
      // Of tasks that were handed over by hand, nothing else is known.
      return [LocalEngine.logName(number), TaskScripts.logName(number)].contains(where: begun.contains)
        ? .running : .open
    }
    return TaskStanding(plan: plan, states: states, failures: failures)
  }
}
