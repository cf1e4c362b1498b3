// The threads of the indexer. One pool serves assignment, training and
// encoding; OpenBLAS runs single-threaded inside its tasks.

internal import CKernels
internal import Base
internal import Foundation

/// A fixed set of threads that carries out one batch of tasks at a time.
///
/// Tasks are handed out in ascending order to whichever thread is free, so
/// what a batch computes must not depend on who does what. A batch blocks its
/// caller: call from a thread, never from the cooperative pool.
package final class WorkerPool: Sendable {
  /// Threads that carry out tasks, the caller's own included, `1...`.
  package let threadCount: Int

  private let inbox = Inbox()

  /// The pool of the process: `TARN_THREADS` threads, or one for each CPU.
  package static var shared: WorkerPool { get throws { try made.get() } }

  private static let made = Result {
    try WorkerPool(threadCount: ThreadCount.ofProcess())
  }

  /// Starts the threads.
  ///
  /// - Parameter threadCount: Threads, the caller's own included, `1...`.
  /// - Throws: ``TarnError`` `.io` when the system does not give as many.
  package init(threadCount: Int) throws {
    precondition(threadCount >= 1, "a pool needs a thread")
    self.threadCount = threadCount
    ckernels_single_threaded_blas()
    let inbox = inbox
    do {
      for worker in 1..<threadCount {
        try NamedThread.start("tarn-worker-\(worker)") { inbox.serve(worker: worker) }
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
  ///   - count: How many tasks, numbered from 0.
  ///   - task: One task; gets its number and the number of the thread that
  ///     carries it out, `0..<threadCount`, which no two tasks have at once.
  package func run(_ count: Int, _ task: @Sendable (_ task: Int, _ worker: Int) -> Void) {
    if count == 0 { return }
    withoutActuallyEscaping(task) { inbox.carryOut(count, $0) }
  }

  /// Where tasks wait; the threads hold it, so that the pool itself can go.
  ///
  /// `@unchecked Sendable`: `batch` and `isClosing` are touched only with
  /// `condition` locked; `turn` lets one batch in at a time.
  private final class Inbox: @unchecked Sendable {
    typealias Task = @Sendable (_ task: Int, _ worker: Int) -> Void

    private struct Batch {
      let task: Task
      let count: Int
      var next = 0
      var running = 0
    }

    private let condition = NSCondition()
    private let turn = NSLock()
    private var batch: Batch?
    private var isClosing = false

    func carryOut(_ count: Int, _ task: @escaping Task) {
      turn.lock()
      defer { turn.unlock() }
      condition.lock()
      batch = Batch(task: task, count: count)
      condition.broadcast()
      takeTasks(worker: 0)
      while let batch, batch.running > 0 { condition.wait() }
      batch = nil
      condition.unlock()
    }

    func serve(worker: Int) {
      condition.lock()
      while !isClosing {
        takeTasks(worker: worker)
        condition.wait()
      }
      condition.unlock()
    }

    func close() {
      condition.lock()
      isClosing = true
      condition.broadcast()
      condition.unlock()
    }

    /// Carries out tasks while there are any; the lock is held outside them.
    private func takeTasks(worker: Int) {
      while let current = batch, current.next < current.count {
        batch?.next += 1
        batch?.running += 1
        condition.unlock()
        current.task(current.next, worker)
        condition.lock()
        batch?.running -= 1
        if let batch, batch.running == 0, batch.next == batch.count { condition.broadcast() }
      }
    }
  }
}
