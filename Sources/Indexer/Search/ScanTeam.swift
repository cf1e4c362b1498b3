// The threads of a search. A search for one query takes less than a millisecond
// and has two steps that all threads share: to wake the threads for each, by a lock
// and the kernel, would take a third of that time. So an idle thread spins for a
// short while before it sleeps.

internal import CScan
internal import Base
internal import Foundation
internal import Synchronization

/// A fixed set of threads that carries out one batch of tasks at a time.
///
/// A batch is open or closed. A thread first counts itself as active, then looks
/// whether the batch is open; the caller first closes the batch, then waits until no
/// thread is active. Both are sequentially consistent, so no thread touches a batch
/// that has ended, and the caller never waits for a thread that wakes late.
final class ScanTeam: Sendable {
  /// Threads that carry out tasks, the caller's own included, `1...`.
  let threadCount: Int
  private let inbox: Inbox

  /// Starts the threads.
  ///
  /// - Parameter threadCount: Threads, the caller's own included, `1...`.
  /// - Throws: ``TarnError`` `.io` when the system does not give as many.
  init(threadCount: Int) throws {
    precondition(threadCount >= 1, "a team needs a thread")
    self.threadCount = threadCount
    // With more threads than CPUs, one that spins takes the CPU from one that works.
    let spinCount = threadCount <= ProcessInfo.processInfo.activeProcessorCount ? 4000 : 0
    inbox = Inbox(spinCount: spinCount)
    do {
      for worker in 1..<threadCount {
        try NamedThread.start("tarn-scan-\(worker)") { [inbox] in inbox.serve() }
      }
    } catch {
      inbox.close()
      throw error
    }
  }

  deinit { inbox.close() }

  /// Carries out `count` tasks and returns when all are done.
  ///
  /// - Parameters:
  ///   - count: How many tasks, numbered from 0; they begin in that order.
  ///   - task: One task; gets its number.
  func run(_ count: Int, _ task: @Sendable (Int) -> Void) {
    if count > 0 { withoutActuallyEscaping(task) { inbox.carryOut(count, $0) } }
  }

  /// Where tasks wait; the threads hold it, so that the team itself can go.
  ///
  /// `@unchecked Sendable`: `task` and `count` are written while the batch is
  /// closed and no thread is active, and read by active threads while it is open.
  private final class Inbox: @unchecked Sendable {
    /// How often a thread looks before it sleeps.
    private let spinCount: Int
    private var task: (@Sendable (Int) -> Void)?
    private var count = 0
    private let isOpen = Atomic(false)
    /// Threads that may be in a batch.
    private let activeCount = Atomic(0)
    /// The number of the next task.
    private let next = Atomic(0)
    /// Grows with each batch, and when the inbox closes.
    private let round = Atomic(0)
    private let isClosing = Atomic(false)
    private let sleepers = Atomic(0)
    private let condition = NSCondition()
    /// Whether the caller sleeps until no thread is active.
    private let isCallerAsleep = Atomic(false)
    private let idle = NSCondition()

    init(spinCount: Int) { self.spinCount = spinCount }

    func carryOut(_ count: Int, _ task: @escaping @Sendable (Int) -> Void) {
      (self.task, self.count) = (task, count)
      next.store(0, ordering: .relaxed)
      isOpen.store(true, ordering: .sequentiallyConsistent)
      startRound()
      takeTasks(count, task)
      isOpen.store(false, ordering: .sequentiallyConsistent)
      waitUntilIdle()
      self.task = nil
    }

    func serve() {
      var seen = 0
      while !isClosing.load(ordering: .acquiring) {
        activeCount.add(1, ordering: .sequentiallyConsistent)
        join()
        activeCount.subtract(1, ordering: .sequentiallyConsistent)
        wakeCaller()
        seen = awaitRound(after: seen)
      }
    }

    /// Takes part in a batch that is open.
    ///
    /// A function of its own, never inlined, so that no reference to the task outlives it.
    @inline(never) private func join() {
      guard isOpen.load(ordering: .sequentiallyConsistent), let task else { return }
      takeTasks(count, task)
    }

    func close() {
      isClosing.store(true, ordering: .sequentiallyConsistent)
      startRound()
    }

    private func takeTasks(_ count: Int, _ task: @Sendable (Int) -> Void) {
      while true {
        let number = next.add(1, ordering: .relaxed).oldValue
        guard number < count else { return }
        task(number)
      }
    }

    /// Waits until no thread is active.
    ///
    /// That takes a moment, unless other programs have the threads' CPUs: then the caller sleeps, and so gives up its own.
    private func waitUntilIdle() {
      for _ in 0..<max(spinCount, 100) {
        if activeCount.load(ordering: .sequentiallyConsistent) == 0 { return }
        cscan_pause()
      }
      idle.lock()
      isCallerAsleep.store(true, ordering: .sequentiallyConsistent)
      while activeCount.load(ordering: .sequentiallyConsistent) > 0 { idle.wait() }
      isCallerAsleep.store(false, ordering: .relaxed)
      idle.unlock()
    }

    /// Wakes the caller if it sleeps.
    ///
    /// Either the caller sees that this thread is not active, or this thread sees that the caller sleeps: both operations
    /// are sequentially consistent.
    private func wakeCaller() {
      guard isCallerAsleep.load(ordering: .sequentiallyConsistent) else { return }
      idle.lock()
      idle.broadcast()
      idle.unlock()
    }

    /// Starts a new round, and wakes the threads that sleep.
    private func startRound() {
      round.add(1, ordering: .sequentiallyConsistent)
      guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
      condition.lock()
      condition.broadcast()
      condition.unlock()
    }

    /// Waits for another round than the last one seen.
    ///
    /// - Returns: That round.
    private func awaitRound(after seen: Int) -> Int {
      for _ in 0..<spinCount {
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
