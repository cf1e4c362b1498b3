// Several tasks in one process. What they share is prepared once, and while the merge of
// one is written the next is fetched and encoded.
//
//     fetch ─► encode ─► merge, receipt          task n
//                        fetch ─► encode ─► …    task n + 1
//
// Two are under way at most, and one of them has no shards any more: scratch holds the
// shards of one task and the segments of two outputs.

package import Base
internal import Synchronization

/// What the tasks of one process share.
package final class WorkerShare: Sendable {
  let encoders = EncoderCache()
  let room = PromisedTaskRoom()
  private let hasSwept = Mutex(false)

  package init() {}

  /// Whether nobody has looked for what earlier workers left; true once.
  func sweepsFirst() -> Bool {
    hasSwept.withLock { hasSwept in
      defer { hasSwept = true }
      return !hasSwept
    }
  }
}

/// Carries out tasks one after another.
package struct TaskCrew: Sendable {
  /// What came of a task.
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
  /// After a failure that another try may mend, and after an interruption, none is begun
  /// any more: the next would fare likewise.
  ///
  /// - Parameters:
  ///   - isWorthRetry: Whether an error is such a failure.
  ///   - report: Told what came of each, one at a time.
  /// - Returns: The error that says most of what is to be done: the first that is worth
  ///   another try, else the first; nil where all are done.
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

/// Given once or more, waited for by one.
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
