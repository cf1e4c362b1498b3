// The door to fetching: a run of requests on a thread of its own, which may be
// woken and stopped from any other.

internal import Base
internal import CCurl
internal import Glibc
internal import Synchronization

/// Fetches shards over HTTP, several at a time.
///
/// One run has one thread, around `curl_multi_poll`; what may block on the disk
/// (hashing a partial again, syncs, renames, local copies) has its own queues.
/// A fetcher serves one run at a time, and once cancelled it stays so.
package final class Fetcher: Sendable {
  private let configuration: FetchConfiguration
  private let control = LoopControl()

  /// Prepares a fetcher; nothing happens before ``run(pulling:onEvent:)``.
  package init(configuration: FetchConfiguration = FetchConfiguration()) {
    self.configuration = configuration
  }

  /// Serves requests until the supply is finished and each has ended.
  ///
  /// Every request that was pulled ends with a `.finished` event, unless libcurl
  /// itself fails. Errors of requests are in their events and never thrown.
  ///
  /// - Parameters:
  ///   - supply: Asked for the next request whenever a slot is free, on the
  ///     run's thread: it must not block for long, and says `.notYet` to hold
  ///     back. If it throws, nothing more is pulled, and the error is rethrown
  ///     at the end.
  ///   - onEvent: Told everything, in order, on the run's thread. What it does
  ///     holds up the run.
  /// - Throws: `CancellationError` if the task was cancelled or ``cancel()``
  ///   called; ``TarnError`` if libcurl cannot be used; what `supply` threw.
  package func run(
    pulling supply: @escaping @Sendable () throws -> FetchSupply,
    onEvent: @escaping @Sendable (FetchEvent) -> Void
  ) async throws {
    let (configuration, control) = (configuration, control)
    try await withTaskCancellationHandler {
      try await ThreadedWork("tarn-fetch") {
        let loop = try TransferLoop(configuration: configuration, control: control, supply: supply, onEvent: onEvent)
        try loop.run()
      }.value()
    } onCancel: {
      control.cancel()
    }
  }

  /// Serves a list of requests; see ``run(pulling:onEvent:)``.
  package func run(_ requests: [FetchRequest], onEvent: @escaping @Sendable (FetchEvent) -> Void) async throws {
    let left = Mutex(requests[...])
    try await run(pulling: { left.withLock { $0.popFirst().map(FetchSupply.request) ?? .finished } }, onEvent: onEvent)
  }

  /// Asks the supply again soon; from any thread.
  package func wake() { control.wake() }

  /// Stops the run, from any thread or a signal's handler thread; partial
  /// files are kept for the next one.
  package func cancel() { control.cancel() }
}

/// What a disk queue reports to the loop about a transfer.
enum DiskReport: Sendable {
  case opened(Result<PartFile, TarnError>)
  case copying(byteCount: Int)
  case copied(Result<LocalCopy.Outcome, TarnError>)
  case finished(Result<FinishedFile, TarnError>)
  /// The part file was put aside or removed; the request may end.
  case putAside
}

/// A shard under its final name.
struct FinishedFile: Sendable {
  let digest: ContentDigest
  let states: [UInt8]
  let rowCount: Int
  let byteCount: Int
  let path: String
}

/// What other threads say to the loop.
final class LoopControl: Sendable {
  private struct State {
    var reports: [(transfer: UInt, report: DiskReport)] = []
    var isCancelled = false
    var isWoken = false
    /// The multi handle's address while the loop runs, for the wake-up alone.
    var multi: UInt?
  }

  private let state = Mutex(State())

  /// Makes the loop's multi handle known, or forgets it.
  func attach(_ multi: UnsafeMutableRawPointer?) {
    let address = unsafe multi.map { UInt(bitPattern: $0) }
    state.withLock { $0.multi = address }
  }

  func post(_ report: DiskReport, for transfer: UInt) {
    state.withLock {
      $0.reports.append((transfer, report))
      Self.wake($0)
    }
  }

  func takeReports() -> [(transfer: UInt, report: DiskReport)] {
    state.withLock {
      let reports = $0.reports
      $0.reports = []
      return reports
    }
  }

  func wake() {
    state.withLock {
      $0.isWoken = true
      Self.wake($0)
    }
  }

  /// Ends the loop's poll, with nothing to say but that time matters now.
  func poke() { state.withLock { Self.wake($0) } }

  /// Whether ``wake()`` was called since the last time.
  func takeWake() -> Bool {
    state.withLock { state in
      defer { state.isWoken = false }
      return state.isWoken
    }
  }

  func cancel() {
    state.withLock {
      $0.isCancelled = true
      Self.wake($0)
    }
  }

  var isCancelled: Bool { state.withLock { $0.isCancelled } }

  /// Ends the loop's poll.
  ///
  /// Called under the lock, so that the handle still lives.
  private static func wake(_ state: State) {
    // > this function may be called from any thread
    // https://curl.se/libcurl/c/curl_multi_wakeup.html
    guard let address = state.multi, let multi = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
    _ = unsafe curl_multi_wakeup(multi)
  }
}

/// libcurl's process-wide set-up, done once.
enum CurlLibrary {
  private static let result: CURLcode = {
    // With CURLOPT_NOSIGNAL libcurl leaves SIGPIPE to its user, and a TLS
    // connection that a server closed would end the process.
    // https://curl.se/libcurl/c/CURLOPT_NOSIGNAL.html
    _ = signal(SIGPIPE, SIG_IGN)
    return ccurl_global_init()
  }()

  /// Sets libcurl up.
  static func prepare() throws(TarnError) {
    guard result == CURLE_OK else { throw TarnError(.io, "libcurl cannot be initialised") }
  }
}
