// Threads of tarn's own, by name, and work that may block on one: the one way
// in which it is taken off the cooperative pool or out of its caller's way.

internal import CThreads
internal import Dispatch
internal import Glibc
internal import Synchronization

/// A thread that the kernel knows by its name, as `top -H` and `gdb` show it.
package enum NamedThread {
  /// What a thread does, handed to it.
  private final class Task: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(_ name: String, _ body: @escaping @Sendable () -> Void) { (self.name, self.body) = (name, body) }
  }

  private static let stackByteCount = 8 << 20

  /// Starts a thread.
  ///
  /// - Parameters:
  ///   - name: Its name, at most 15 bytes as the kernel shows it.
  ///   - body: What it does; it may block as long as it likes.
  /// - Throws: ``TarnError`` `.io` when the system gives no thread; then `body`
  ///   is not called.
  package static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(TarnError) {
    let task = Unmanaged.passRetained(Task(name, body))
    let error = cthreads_start(
      { context in
        guard let context else { return }
        let task = Unmanaged<Task>.fromOpaque(context).takeRetainedValue()
        NamedThread.nameItself(task.name)
        task.body()
      }, task.toOpaque(), stackByteCount)
    guard error == 0 else {
      task.release()
      throw .noThread(error)
    }
  }

  /// Says how the process ends when a library cannot make a thread of its own:
  /// those that Swift's tasks run on are made by libdispatch, which would try
  /// again without end.
  ///
  /// - Parameter end: Gets the error number and does not return.
  package static func endProcess(with end: @escaping @convention(c) (_ error: Int32) -> Void) {
    cthreads_end_without(end)
  }

  /// Has signals told on a thread of its own.
  ///
  /// - Parameters:
  ///   - signals: Their numbers; from now on they do nothing else.
  ///   - hear: Called for each, with the time after which it is called again,
  ///     with nil, should no other signal come before.
  /// - Throws: ``TarnError`` `.io` when the system gives no thread or pipe.
  package static func hear(
    _ signals: [Int32], _ hear: @escaping @Sendable (_ signal: Int32?) -> Duration?
  ) throws(TarnError) {
    let descriptor = cthreads_hear(signals, signals.count)
    guard descriptor >= 0 else { throw Disk.systemError("make", "a pipe") }
    try start("tarn-signal") {
      var patience: Duration?
      while true {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let count = poll(&waiting, 1, patience.map { Int32($0 / .milliseconds(1)) } ?? -1)
        var number: UInt8 = 0
        if count == 0 {
          patience = hear(nil)
        } else if count > 0, read(descriptor, &number, 1) == 1 {
          patience = hear(Int32(number))
        }
      }
    }
  }

  /// Gives the calling thread its name.
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

extension TarnError {
  /// The error that the system gives no thread.
  ///
  /// - Parameter error: What `pthread_create` said.
  /// - Returns: The error.
  package static func noThread(_ error: Int32) -> TarnError {
    TarnError(
      .io, "cannot start a thread: \(String(cString: strerror(error)))",
      hint: "raise the limit on threads (ulimit -u, a container's pids limit) or on memory (ulimit -v), or set "
        + "TARN_THREADS=1")
  }
}

/// Work under way on a thread of its own.
///
/// It begins at once and runs to its end whether or not somebody waits. The
/// outcome is kept, for any number of waiters, of either kind; when the system
/// gives no thread, that is the outcome.
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
    do {
      try NamedThread.start(name) { [self] in finish(Result(catching: body)) }
    } catch {
      finish(.failure(error))
    }
  }

  /// Begins work beside which something goes on that has to be ended with it.
  ///
  /// - Parameters:
  ///   - name: The thread's name, at most 15 bytes as the kernel shows it.
  ///   - end: Ends the other; called when the work has ended, and when it gets no thread.
  ///   - body: The work; it may block as long as it likes.
  package convenience init(
    _ name: String, ending end: @escaping @Sendable () -> Void, _ body: @escaping @Sendable () throws -> Value
  ) {
    self.init(name) {
      defer { end() }
      return try body()
    }
    // Without a thread nobody else would.
    if case .failure? = outcome { end() }
  }

  /// What came of the work; nil while it is under way.
  package var outcome: Result<Value, any Error>? {
    if case .done(let outcome) = state.withLock({ $0 }) { outcome } else { nil }
  }

  /// Throws what the work threw, if it has ended so already: above all that its
  /// thread could not be made.
  package func requireNoFailure() throws {
    if case .done(.failure(let error)) = state.withLock({ $0 }) { throw error }
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

  /// What came of the work by the end of a time; blocks the calling thread until it is there or the time is over.
  ///
  /// - Parameter time: How long is waited at most.
  /// - Returns: The outcome; nil while the work is under way.
  package func outcome(within time: Duration) -> Result<Value, any Error>? {
    _ = end.wait(timeout: .now() + max(.zero, time).seconds)
    return outcome
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
