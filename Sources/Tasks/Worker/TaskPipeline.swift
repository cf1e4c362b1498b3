// Several tasks in one process, as a pipeline of two stages: while the output of one task is
// merged and written, the next is fetched and encoded. What they share is prepared once.
//
//     fetch ─► encode ─► merge, receipt          task n
//                        fetch ─► encode ─► …    task n + 1
//
// Two tasks at most are under way, and the first of them needs its shards no more: scratch
// holds the shards of one task and the segments of two outputs.

package import Base
internal import Synchronization

/// What the tasks of one process share.
package final class WorkerShare: Sendable {
  let encoders = EncoderCache()
  let room = PromisedTaskRoom()
  private let hasSwept = Mutex(false)

  package init() {}

  /// Whether the caller is the first, and so is to remove what earlier workers left in scratch; true once.
  func sweepsFirst() -> Bool {
    hasSwept.withLock { hasSwept in
      defer { hasSwept = true }
      return !hasSwept
    }
  }
}

/// Carries out tasks in order, two at a time.
package struct TaskPipeline: Sendable {
  /// How a task ended.
  package typealias Outcome = Result<(receipt: TaskReceipt, isNew: Bool), TarnError>

  private let numbers: [Int]
  private let worker: @Sendable (Int, WorkerShare) -> TaskWorker

  /// Prepares to work.
  ///
  /// - Parameters:
  ///   - numbers: The tasks, in the order in which they are begun.
  ///   - worker: The worker of one.
  package init(_ numbers: [Int], worker: @escaping @Sendable (Int, WorkerShare) -> TaskWorker) {
    self.numbers = numbers
    self.worker = worker
  }

  /// Carries the tasks out.
  ///
  /// After a failure that a retry may mend, and after an interruption, no further task is begun:
  /// it would fail in the same way.
  ///
  /// - Parameters:
  ///   - isWorthRetry: Whether an error is such a failure.
  ///   - report: Called with the outcome of each task, one call at a time.
  /// - Returns: The first error that is worth a retry, else the first error; nil if all tasks
  ///   are done.
  package func run(
    isWorthRetry: @Sendable (TarnError) -> Bool, report: @Sendable (Int, TaskWorker, Outcome) async -> Void
  ) async -> TarnError? {
    let share = WorkerShare()
    return await withTaskGroup(of: (Int, TaskWorker, Outcome).self) { group in
      var errors: [TarnError] = []
      var underWay = 0
      func conclude(_ ended: (Int, TaskWorker, Outcome)) async {
        underWay -= 1
        if case .failure(let error) = ended.2 { errors.append(error) }
        await report(ended.0, ended.1, ended.2)
      }
      for number in numbers {
        while underWay > 1, let ended = await group.next() { await conclude(ended) }
        guard !errors.contains(where: isWorthRetry) else { break }
        let worker = worker(number, share)
        let encoded = Signal()
        group.addTask {
          let outcome: Outcome
          do {
            outcome = .success(try await worker.run { encoded.give() })
          } catch {
            outcome = .failure(error as? TarnError ?? TarnError(.io, "\(error)"))
          }
          encoded.give()
          return (number, worker, outcome)
        }
        underWay += 1
        await encoded.wait()
      }
      while let ended = await group.next() { await conclude(ended) }
      return errors.first(where: isWorthRetry) ?? errors.first
    }
  }
}

/// An event that is signalled once or more, and waited for by one task.
private final class Signal: Sendable {
  private enum State {
    case idle, given
    case waiting(CheckedContinuation<Void, Never>)
  }

  private let state = Mutex(State.idle)

  func give() {
    let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
      defer { state = .given }
      if case .waiting(let continuation) = state { return continuation }
      return nil
    }
    waiting?.resume()
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let isGiven = state.withLock { state in
        if case .given = state { return true }
        state = .waiting(continuation)
        return false
      }
      if isGiven { continuation.resume() }
    }
  }
}
