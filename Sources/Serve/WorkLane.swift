// Threads for work that may block, with a queue of bounded length.

internal import Base
internal import Dispatch
internal import Foundation

/// A lane of work.
///
/// `@unchecked Sendable`: everything that changes is read and written under the condition's lock.
package final class WorkLane: @unchecked Sendable {
  private let condition = NSCondition()
  private var waiting = Queue<@Sendable () -> Void>()
  private var isClosed = false
  /// Whether nothing is taken any more.
  private var isEnding = false
  private let limit: Int

  /// Starts a lane.
  ///
  /// - Parameters:
  ///   - name: Of its threads, at most 15 bytes.
  ///   - threads: How many.
  ///   - limit: Work that may wait.
  /// - Throws: ``TarnError`` `.io` when the system gives no thread.
  package init(_ name: String, threads: Int, limit: Int) throws {
    self.limit = limit
    do {
      for _ in 0..<threads {
        try NamedThread.start(name) { [weak self] in
          while let work = self?.next() { work() }
        }
      }
    } catch {
      close()
      throw error
    }
  }

  /// How much waits.
  package var count: Int {
    condition.lock()
    defer { condition.unlock() }
    return waiting.count
  }

  /// Puts work behind all that waits.
  ///
  /// - Returns: false when as much waits as may.
  package func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
    condition.lock()
    defer { condition.unlock() }
    guard !isEnding, waiting.count < limit else { return false }
    waiting.append(work)
    condition.signal()
    return true
  }

  /// Takes no more work, has what it took done and one thing behind it, and ends.
  ///
  /// Blocks. Of a lane of one thread.
  ///
  /// - Parameters:
  ///   - time: How long it may take in all; a second in which nothing is done ends it, too, and what is left is dropped.
  ///   - last: Done at the end.
  func finish(within time: Duration, _ last: @escaping @Sendable () -> Void) {
    let isDone = DispatchSemaphore(value: 0)
    condition.lock()
    isEnding = true
    waiting.append {
      last()
      isDone.signal()
    }
    var left = waiting.count
    condition.signal()
    condition.unlock()
    let end = ContinuousClock.now + time
    while isDone.wait(timeout: .now() + .seconds(1)) == .timedOut {
      let count = count
      guard count < left, ContinuousClock.now < end else { break }
      left = count
    }
    close()
  }

  /// Ends the threads once they have done what they are at; what waits is dropped.
  package func close() {
    condition.lock()
    (isClosed, isEnding) = (true, true)
    waiting.removeAll()
    condition.broadcast()
    condition.unlock()
  }

  private func next() -> (@Sendable () -> Void)? {
    condition.lock()
    defer { condition.unlock() }
    while true {
      if isClosed { return nil }
      if let work = waiting.popFirst() { return work }
      condition.wait()
    }
  }
}
