// How a run is told to stop: one token a command, made by whoever can be asked
// to stop, handed down to everything that takes time.

internal import Dispatch
internal import Synchronization

/// A wish to stop, told once from any thread.
///
/// Work that loops asks ``check()`` between steps; work that waits for somebody
/// else registers what wakes it with ``whenCancelled(_:)``. Nothing is taken
/// back: a token that was cancelled stays so.
package final class Cancellation: Sendable {
  private struct State {
    var isCancelled = false
    var isHeard = false
    var handlers: [Int: @Sendable () -> Void] = [:]
    var nextHandler = 0
  }

  private let flag = Atomic<Bool>(false)
  private let state = Mutex(State())

  package init() {}

  /// Whether somebody asked to stop.
  ///
  /// - Complexity: one load; may be asked for every row.
  package var isCancelled: Bool { flag.load(ordering: .relaxed) }

  /// Whether work is under way that ends by itself once it is cancelled.
  ///
  /// A command without any can be ended at once.
  package var isHeard: Bool { state.withLock { $0.isHeard } }

  /// Says that the caller ends by itself once the token is cancelled.
  package func listen() { state.withLock { $0.isHeard = true } }

  /// Asks to stop; the handlers run on the calling thread.
  package func cancel() {
    let handlers = state.withLock { state in
      guard !state.isCancelled else { return [@Sendable () -> Void]() }
      state.isCancelled = true
      flag.store(true, ordering: .relaxed)
      return state.handlers.sorted { $0.key < $1.key }.map(\.value)
    }
    for handler in handlers { handler() }
  }

  /// Ends the caller's work when somebody asked to stop.
  ///
  /// - Throws: ``TarnError`` `.interrupted`.
  package func check() throws(TarnError) {
    if isCancelled { throw .interrupted }
  }

  /// Waits on the calling thread, at most so long.
  ///
  /// - Parameter duration: How long.
  /// - Throws: ``TarnError`` `.interrupted`, at once when somebody asks to stop.
  package func sleep(for duration: Duration) throws(TarnError) {
    let woken = DispatchSemaphore(value: 0)
    let registration = whenCancelled { woken.signal() }
    _ = woken.wait(timeout: .now() + duration.seconds)
    withExtendedLifetime(registration) {}
    try check()
  }

  /// Has something called when the token is cancelled: at once, if it is.
  ///
  /// - Parameter handler: Called once, from any thread; it must not wait.
  /// - Returns: What takes the handler away again, when it is released.
  package func whenCancelled(_ handler: @escaping @Sendable () -> Void) -> Registration {
    let number: Int? = state.withLock { state in
      state.isHeard = true
      guard !state.isCancelled else { return nil }
      state.nextHandler += 1
      state.handlers[state.nextHandler] = handler
      return state.nextHandler
    }
    if number == nil { handler() }
    return Registration { [weak self] in
      guard let number else { return }
      self?.state.withLock { $0.handlers[number] = nil }
    }
  }

  /// A handler's place with a token.
  package final class Registration: Sendable {
    private let remove: @Sendable () -> Void
    fileprivate init(_ remove: @escaping @Sendable () -> Void) { self.remove = remove }
    deinit { remove() }
  }
}

extension TarnError {
  /// The error of work that was asked to stop.
  package static var interrupted: TarnError {
    TarnError(.interrupted, "interrupted", hint: "run the same command again to continue")
  }
}
