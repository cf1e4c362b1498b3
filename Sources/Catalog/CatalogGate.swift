// Serialises the use of a catalog's connection, and ends it for good when the session ends.

internal import Foundation
internal import Synchronization

/// A lock that one thread holds at a time, and that nobody gets once it is shut.
package final class CatalogGate: Sendable {
  /// Recursive, so that a thread that ends the process while it holds the lock does not wait for itself.
  private let lock = NSRecursiveLock()
  private let isShut = Mutex(false)

  package init() {}

  /// Runs `body` while no other thread is inside.
  ///
  /// Blocks for ever once the gate is shut, when the process is about to end.
  package func passing<Value>(_ body: () throws -> Value) rethrows -> Value {
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }

  /// Waits for the thread inside, and lets nobody in any more.
  ///
  /// A second call waits for the first, and does nothing else.
  package func shut() {
    isShut.withLock { isShut in
      if !isShut { lock.lock() }
      isShut = true
    }
  }
}
