// Threads for work that may block, with a queue of bounded length.

internal import Base
internal import Foundation

/// A lane of work.
///
/// `@unchecked Sendable`: everything that changes is read and written under the condition's lock.
package final class WorkLane: @unchecked Sendable {
  private let condition = NSCondition()
  private var waiting = Queue<@Sendable () -> Void>()
  private var isClosed = false
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
    guard !isClosed, waiting.count < limit else { return false }
    waiting.append(work)
    condition.signal()
    return true
  }

  /// Ends the threads once they have done what they are at; what waits is dropped.
  package func close() {
    condition.lock()
    isClosed = true
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
