// The threads of a search. A search for one query takes less than a millisecond
// and has two steps that all threads share: to be woken for each, by a lock and
// the kernel, would take a third of it. So whoever has nothing to do looks out
// for the next step a little while before it sleeps.

internal import CScan
internal import Base
internal import Foundation
internal import Synchronization

/// A fixed set of threads that carries out one batch of tasks at a time.
///
/// A batch is open or it is not. A thread says that it is in, then looks whether
/// the batch is open; the caller closes it, then waits until nobody is in. Both
/// are sequentially consistent, so no thread touches a batch that has ended, and
/// one that wakes late finds nothing to do instead of being waited for.
final class ScanTeam: Sendable {
  /// Threads that carry out tasks, the caller's own included, `1...`.
  let threadCount: Int
  private let desk: Desk

  /// Starts the threads.
  ///
  /// - Parameter threadCount: Threads, the caller's own included, `1...`.
  /// - Throws: ``TarnError`` `.io` when the system does not give as many.
  init(threadCount: Int) throws {
    precondition(threadCount >= 1, "a team needs a thread")
    self.threadCount = threadCount
    // Who looks out on a CPU that another thread needs is in its way.
    let patience = threadCount <= ProcessInfo.processInfo.activeProcessorCount ? 4000 : 0
    desk = Desk(patience: patience)
    do {
      for worker in 1..<threadCount {
        try NamedThread.start("tarn-scan-\(worker)") { [desk] in desk.serve() }
      }
    } catch {
      desk.close()
      throw error
    }
  }

  deinit { desk.close() }

  /// Carries out `count` tasks and returns when all are done.
  ///
  /// - Parameters:
  ///   - count: How many tasks, numbered from 0; they begin in that order.
  ///   - task: One task; gets its number.
  func run(_ count: Int, _ task: @Sendable (Int) -> Void) {
    if count > 0 { withoutActuallyEscaping(task) { desk.carryOut(count, $0) } }
  }

  /// Where tasks wait; the threads hold it, so that the team itself can go.
  ///
  /// `@unchecked Sendable`: `task` and `count` are written while the batch is
  /// closed and nobody is in, and read by those who are in an open one.
  private final class Desk: @unchecked Sendable {
    private let patience: Int
    private var task: (@Sendable (Int) -> Void)?
    private var count = 0
    private let isOpen = Atomic(false)
    private let inside = Atomic(0)
    private let next = Atomic(0)
    /// Grows with each batch, and when the desk closes.
    private let round = Atomic(0)
    private let isClosing = Atomic(false)
    private let sleepers = Atomic(0)
    private let condition = NSCondition()
    /// Whether the caller sleeps until nobody is in.
    private let isAwaited = Atomic(false)
    private let absence = NSCondition()

    init(patience: Int) { self.patience = patience }

    func carryOut(_ count: Int, _ task: @escaping @Sendable (Int) -> Void) {
      (self.task, self.count) = (task, count)
      next.store(0, ordering: .relaxed)
      isOpen.store(true, ordering: .sequentiallyConsistent)
      announce()
      takeTasks(count, task)
      isOpen.store(false, ordering: .sequentiallyConsistent)
      awaitAbsence()
      self.task = nil
    }

    func serve() {
      var seen = 0
      while !isClosing.load(ordering: .acquiring) {
        inside.add(1, ordering: .sequentiallyConsistent)
        join()
        inside.subtract(1, ordering: .sequentiallyConsistent)
        tellOfAbsence()
        seen = awaitRound(after: seen)
      }
    }

    /// Takes part in an open batch; its own function, so that nothing of the
    /// task is held once it returns.
    @inline(never) private func join() {
      guard isOpen.load(ordering: .sequentiallyConsistent), let task else { return }
      takeTasks(count, task)
    }

    func close() {
      isClosing.store(true, ordering: .sequentiallyConsistent)
      announce()
    }

    private func takeTasks(_ count: Int, _ task: @Sendable (Int) -> Void) {
      while true {
        let number = next.add(1, ordering: .relaxed).oldValue
        guard number < count else { return }
        task(number)
      }
    }

    /// Waits until nobody is in.
    ///
    /// Soon they are out, unless another program has their CPU. Then this one is given up, on which they can go on.
    private func awaitAbsence() {
      for _ in 0..<max(patience, 100) {
        if inside.load(ordering: .sequentiallyConsistent) == 0 { return }
        cscan_pause()
      }
      absence.lock()
      isAwaited.store(true, ordering: .sequentiallyConsistent)
      while inside.load(ordering: .sequentiallyConsistent) > 0 { absence.wait() }
      isAwaited.store(false, ordering: .relaxed)
      absence.unlock()
    }

    /// Wakes the caller where it sleeps: either it sees who is out, or who is out sees that it waits.
    private func tellOfAbsence() {
      guard isAwaited.load(ordering: .sequentiallyConsistent) else { return }
      absence.lock()
      absence.broadcast()
      absence.unlock()
    }

    /// Wakes whoever sleeps.
    private func announce() {
      round.add(1, ordering: .sequentiallyConsistent)
      guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
      condition.lock()
      condition.broadcast()
      condition.unlock()
    }

    /// Waits for another round than the last one seen, and gives it.
    private func awaitRound(after seen: Int) -> Int {
      for _ in 0..<patience {
        let now = round.load(ordering: .acquiring)
        if now != seen { return now }
        cscan_pause()
      }
      condition.lock()
      defer { condition.unlock() }
      sleepers.add(1, ordering: .sequentiallyConsistent)
      defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
      while true {
        let now = round.load(ordering: .sequentiallyConsistent)
        if now != seen { return now }
        condition.wait()
      }
    }
  }
}
