// Threads of tarn's own, by name, and work that may block on one: the one way
// in which it is taken off the cooperative pool or out of its caller's way.

internal import Foundation
internal import Glibc
internal import Synchronization

/// A thread that the kernel knows by its name, as `top -H` and `gdb` show it.
package enum NamedThread {
  /// Starts a thread.
  ///
  /// - Parameters:
  ///   - name: Its name, at most 15 bytes as the kernel shows it.
  ///   - body: What it does; it may block as long as it likes.
  package static func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread {
      nameItself(name)
      body()
    }
    thread.stackSize = 8 << 20
    thread.start()
  }

  /// Gives the calling thread its name.
  ///
  /// Foundation cannot: it knows a thread's handle only once `start()` has
  /// returned in the thread that made it, which may be after this one ran.
  private static func nameItself(_ name: String) {
    // > allows a process to change its own thread's command name
    // https://man7.org/linux/man-pages/man5/proc_pid_comm.5.html
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let bytes = Array(name.utf8.prefix(15))
    _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
  }
}

/// Work under way on a thread of its own.
///
/// It begins at once and runs to its end whether or not somebody waits. The
/// outcome is kept, for any number of waiters, of either kind.
package final class ThreadedWork<Value: Sendable>: Sendable {
  private typealias Outcome = Result<Value, any Error>

  private enum State {
    case underWay(waiters: [CheckedContinuation<Outcome, Never>])
    case done(Outcome)
  }

  private let state = Mutex(State.underWay(waiters: []))
  /// Left when the work is done: for waiters that are threads.
  private let end = DispatchGroup()

  /// Begins the work.
  ///
  /// - Parameters:
  ///   - name: The thread's name, at most 15 bytes as the kernel shows it.
  ///   - body: The work; it may block as long as it likes.
  package init(_ name: String, _ body: @escaping @Sendable () throws -> Value) {
    end.enter()
    NamedThread.start(name) { [self] in finish(Result(catching: body)) }
  }

  private func finish(_ outcome: Outcome) {
    let waiters = state.withLock { state in
      guard case .underWay(let waiters) = state else { preconditionFailure("work ends once") }
      state = .done(outcome)
      return waiters
    }
    end.leave()
    for waiter in waiters { waiter.resume(returning: outcome) }
  }

  /// The work's result, without blocking a thread until it is there.
  ///
  /// Cancelling the waiting task does not end the work: that is up to what it
  /// is made of.
  ///
  /// - Throws: What the work threw.
  package func value() async throws -> Value {
    let outcome = await withCheckedContinuation { (waiter: CheckedContinuation<Outcome, Never>) in
      let known: Outcome? = state.withLock { state in
        switch state {
        case .done(let outcome): return outcome
        case .underWay(let waiters):
          state = .underWay(waiters: waiters + [waiter])
          return nil
        }
      }
      if let known { waiter.resume(returning: known) }
    }
    return try outcome.get()
  }

  /// The work's result; blocks the calling thread until it is there.
  ///
  /// For callers that are on a thread of their own themselves.
  ///
  /// - Throws: What the work threw.
  package func wait() throws -> Value {
    end.wait()
    guard case .done(let outcome) = state.withLock({ $0 }) else { preconditionFailure("work that has ended is done") }
    return try outcome.get()
  }
}
