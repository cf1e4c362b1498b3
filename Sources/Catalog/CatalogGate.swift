// The gate before a catalog's connection, which is shut when the session ends.

internal import Foundation
internal import Synchronization

/// One thread passes at a time, until it is shut; from then on none does.
package final class CatalogGate: Sendable {
  /// Recursive: a thread that ends the process while it passes is not to wait for itself.
  private let lock = NSRecursiveLock()
  private let isShut = Mutex(false)

  package init() {}

  /// Passes alone.
  ///
  /// Blocks for ever where the gate is shut: then the process is about to end.
  package func passing<Value>(_ body: () throws -> Value) rethrows -> Value {
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }

  /// Waits for who is passing, and lets nobody in any more; again does nothing, and waits
  /// for who does it.
  package func shut() {
    isShut.withLock { isShut in
      if !isShut { lock.lock() }
      isShut = true
    }
  }
}
