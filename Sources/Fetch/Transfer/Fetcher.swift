// The door to fetching: a run of requests on a thread of its own, which may be
// woken and stopped from any other.

internal import Base
internal import Synchronization

/// Fetches shards over HTTP, several at a time.
///
/// One run has one thread, around `curl_multi_poll`; what may block on the disk
/// (hashing a partial again, syncs, renames, local copies) has its own queues.
/// A fetcher serves one run at a time, and once cancelled it stays so.
package final class Fetcher: Sendable {
  private let configuration: FetchConfiguration
  private let control = TransferControl()

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
      control.loop.cancel()
    }
  }

  /// Serves a list of requests; see ``run(pulling:onEvent:)``.
  package func run(_ requests: [FetchRequest], onEvent: @escaping @Sendable (FetchEvent) -> Void) async throws {
    let left = Mutex(requests[...])
    try await run(pulling: { left.withLock { $0.popFirst().map(FetchSupply.request) ?? .finished } }, onEvent: onEvent)
  }

  /// Asks the supply again soon; from any thread.
  package func wake() { control.loop.wake() }

  /// Stops the run, from any thread or a signal's handler thread; partial
  /// files are kept for the next one.
  package func cancel() { control.loop.cancel() }
}

/// What a disk queue reports to the loop about a transfer.
enum DiskReport: Sendable {
  case opened(Result<PartFile, TarnError>)
  case copying(byteCount: Int)
  case copied(Result<LocalCopy.Outcome, TarnError>)
  case ran(CommandRecord, Result<ShardCommand.Written, TarnError>)
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

/// What other threads say to the loop of a run.
final class TransferControl: Sendable {
  let loop = LoopControl()
  private let reports = Mutex<[(transfer: UInt, report: DiskReport)]>([])

  func post(_ report: DiskReport, for transfer: UInt) {
    reports.withLock { $0.append((transfer, report)) }
    loop.poke()
  }

  func takeReports() -> [(transfer: UInt, report: DiskReport)] {
    reports.withLock { reports in
      defer { reports = [] }
      return reports
    }
  }
}
