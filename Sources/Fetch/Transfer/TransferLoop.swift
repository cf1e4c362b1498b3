// The event loop of a run, on one thread: slots, hosts, rates, events.
// What becomes of an attempt is in TransferLoop+Attempts.swift.
//
// Invariants:
// 1. Only this thread touches the multi handle, its requests, transfers and
//    hosts; disk queues report through LoopControl.
// 2. A request is pulled only into a free slot, and ends with one `.finished`.
// 3. An exchange is in the multi handle exactly while its transfer's phase is
//    `.exchanging`.

internal import Base
internal import CCurl
internal import Foundation

/// The state and the main loop of one run.
@safe final class TransferLoop {
  /// What is known of one scheme, host and port in this run.
  struct Host {
    var activeCount = 0
    var standing = HostStanding()
    var pace = HostPace()
  }

  let configuration: FetchConfiguration
  let control: TransferControl
  let multi: MultiHandle
  let pool = BlockPool()
  var transfers: [UInt: Transfer] = [:]
  var hosts: [String: Host] = [:]
  var jitter: SplitMix64
  var isStopping = false
  /// Bytes per second that all transfers may take now.
  private var limit: Int?
  /// Whether exchanges under way were told a limit.
  private var hasLimited = false
  /// What ended transfers took beyond their share.
  var debt = BandwidthDebt()

  private let supply: @Sendable () throws -> FetchSupply
  private let onEvent: @Sendable (FetchEvent) -> Void
  private var supplyHasEnded = false
  private var supplyError: (any Error)?
  /// When the supply, which had no request, is asked again.
  private var nextSupply = ContinuousClock.now
  private var nextTag: UInt = 1
  private var nextProgress = ContinuousClock.now

  init(
    configuration: FetchConfiguration, control: TransferControl, supply: @escaping @Sendable () throws -> FetchSupply,
    onEvent: @escaping @Sendable (FetchEvent) -> Void
  ) throws(TarnError) {
    guard (1...64).contains(configuration.jobs), configuration.transfersPerHost > 0 else {
      throw TarnError(.usage, "\(configuration.jobs) jobs", hint: "choose from 1 to 64")
    }
    multi = try MultiHandle(connectionCount: configuration.jobs * 2)
    self.configuration = configuration
    self.control = control
    self.supply = supply
    self.onEvent = onEvent
    jitter = configuration.jitter()
    limit = configuration.bandwidthNow().limit(at: Date())
  }

  /// Runs until the supply has ended and every transfer with it.
  func run() throws {
    try multi.attached(to: control.loop) { try turn() }
    if isStopping { throw CancellationError() }
    if let supplyError { throw supplyError }
  }

  private func turn() throws {
    while true {
      for (tag, report) in control.takeReports() {
        guard let transfer = transfers[tag] else { continue }
        take(report, of: transfer)
      }
      if control.loop.isCancelled, !isStopping { stopEverything() }
      if control.loop.takeWake() { nextSupply = .now }
      removeEnded()
      pullRequests()
      startWaiting()
      try performTransfers()
      removeEnded()
      rerollSlow()
      reportProgress()
      if transfers.isEmpty, supplyHasEnded { break }
      try wait()
    }
  }

  func emit(_ event: FetchEvent) { onEvent(event) }

  // MARK: Slots

  private func pullRequests() {
    while !supplyHasEnded, transfers.count < configuration.jobs, nextSupply <= .now {
      let request: FetchRequest
      do {
        switch try supply() {
        case .request(let next): request = next
        case .notYet:
          nextSupply = .now + configuration.supplyInterval
          return
        case .finished:
          supplyHasEnded = true
          return
        }
      } catch {
        supplyError = error
        supplyHasEnded = true
        return
      }
      do throws(TarnError) {
        let transfer = try Transfer(tag: nextTag, request: request, configuration: configuration)
        transfers[nextTag] = transfer
        nextTag += 1
        reportUnusable(transfer)
        open(transfer)
      } catch {
        emit(.finished(requestID: request.id, .failure(error)))
      }
    }
  }

  private func removeEnded() {
    for (tag, transfer) in transfers {
      guard case .ended = transfer.phase else { continue }
      transfers[tag] = nil
      nextSupply = .now
    }
  }

  private func startWaiting() {
    let now = ContinuousClock.now
    // Oldest request first, so that none starves behind a busy host.
    for tag in transfers.keys.sorted() {
      guard let transfer = transfers[tag], case .waiting(let until) = transfer.phase else { continue }
      let wait = due(transfer, until) - now
      if let longest = configuration.longestHeldWait, wait > longest {
        giveUpWaiting(transfer, for: wait)
        continue
      }
      guard wait <= .zero, !isBlocked(transfer) else { continue }
      let origin = transfer.address.origin
      hosts[origin, default: Host()].activeCount += 1
      transfer.heldOrigin = origin
      begin(transfer)
    }
  }

  /// When a waiting transfer may start, as far as time decides.
  private func due(_ transfer: Transfer, _ until: ContinuousClock.Instant) -> ContinuousClock.Instant {
    max(until, hosts[transfer.address.origin]?.standing.notBefore ?? until)
  }

  /// Whether a waiting transfer waits for another transfer to end, and not for a time.
  private func isBlocked(_ transfer: Transfer) -> Bool {
    guard transfer.address.scheme != .file, let host = hosts[transfer.address.origin] else { return false }
    return host.activeCount >= configuration.transfersPerHost
  }

  func releaseHost(of transfer: Transfer) {
    guard let origin = transfer.heldOrigin else { return }
    hosts[origin]?.activeCount -= 1
    transfer.heldOrigin = nil
  }

  private func stopEverything() {
    isStopping = true
    supplyHasEnded = true
    for transfer in transfers.values { stop(transfer) }
  }

  // MARK: Exchanges

  /// Begins an exchange.
  func add(_ exchange: HTTPExchange, of transfer: Transfer) throws(TarnError) {
    try multi.add(exchange.request)
    transfer.phase = .exchanging(exchange)
    transfer.reroll.restart(heard: 0, at: .now)
    shareBandwidth()
    exchange.request.owe(debtToPay(), at: .now)
  }

  /// Removes an exchange that has ended or is to end; the caller must set the next phase.
  func remove(_ exchange: HTTPExchange, of transfer: Transfer) {
    multi.remove(exchange.request)
    transfer.phase = .waiting(until: .now)
    debt.add(exchange.request.debt(at: .now), at: configuration.copyClock())
    shareBandwidth()
  }

  private var exchanges: [(Transfer, HTTPExchange)] {
    transfers.values.compactMap {
      if case .exchanging(let exchange) = $0.phase { ($0, exchange) } else { nil }
    }
  }

  /// Splits the limit evenly over all transfers that run, copies of local files included.
  func shareBandwidth() {
    guard hasLimited || limit != nil else { return }
    hasLimited = limit != nil
    let (running, copies) = (exchanges, transfers.values.compactMap(\.pace))
    let share = limit.map { max(1, $0 / max(1, running.count + copies.count)) }
    for (_, exchange) in running { exchange.request.limit(to: share) }
    for copy in copies { copy.limit(to: share) }
  }

  /// How much of what ended transfers took beyond their share a transfer that begins now has to wait for.
  func debtToPay() -> Double {
    guard let limit else {
      debt = BandwidthDebt()
      return 0
    }
    let count = exchanges.count + transfers.values.count { $0.pace != nil }
    return debt.handOn(toOneAmong: count, rate: limit, at: configuration.copyClock())
  }

  /// Applies the limit that the timetable and the user set for now.
  private func followTimetable() {
    let due = configuration.bandwidthNow().limit(at: Date())
    guard due != limit else { return }
    limit = due
    shareBandwidth()
    // The pace under the old limit says nothing of the connection.
    for (transfer, exchange) in exchanges { restartPace(of: transfer, exchange) }
  }

  private func restartPace(of transfer: Transfer, _ exchange: HTTPExchange) {
    transfer.reroll.restart(heard: exchange.request.heardByteCount, at: .now)
  }

  private func performTransfers() throws {
    for (tag, end) in try multi.turn() {
      guard let transfer = transfers[tag], case .exchanging(let exchange) = transfer.phase else { continue }
      remove(exchange, of: transfer)
      exchangeEnded(exchange, of: transfer, end)
    }
    for (transfer, exchange) in exchanges { holdUpIfBehind(transfer, exchange) }
  }

  /// Stops reading from a server that is faster than the disk, until the disk
  /// has caught up: on HTTP/1.1 that is TCP's own back pressure (R15).
  private func holdUpIfBehind(_ transfer: Transfer, _ exchange: HTTPExchange) {
    guard let isBehind = transfer.part?.isBehind, isBehind != exchange.request.isPaused else { return }
    exchange.request.pause(isBehind)
    // The server is not to blame for time that it was kept waiting.
    restartPace(of: transfer, exchange)
  }

  private func wait() throws {
    let now = ContinuousClock.now
    var wait = Duration.seconds(1)
    if !transfers.isEmpty { wait = min(wait, configuration.progressInterval) }
    if !supplyHasEnded, transfers.count < configuration.jobs { wait = min(wait, nextSupply - now) }
    for transfer in transfers.values {
      guard case .waiting(let until) = transfer.phase, !isBlocked(transfer) else { continue }
      wait = min(wait, due(transfer, until) - now)
    }
    try multi.wait(atMost: wait)
  }

  // MARK: Time

  /// Restarts transfers that are much slower than the others from their host; never
  /// under a bandwidth limit, which could be the cause.
  private func rerollSlow() {
    guard limit == nil else { return }
    let now = ContinuousClock.now
    for (transfer, exchange) in exchanges where !exchange.request.isPaused {
      // How long a server takes to answer says nothing of the connection.
      guard exchange.isBodyAccepted else {
        restartPace(of: transfer, exchange)
        continue
      }
      let heard = exchange.request.heardByteCount
      guard
        transfer.reroll.look(heard: heard, host: &hosts[exchange.address.origin, default: Host()].pace, at: now)
      else { continue }
      remove(exchange, of: transfer)
      reroll(exchange, of: transfer)
    }
  }

  private func reportProgress() {
    let now = ContinuousClock.now
    guard now >= nextProgress else { return }
    nextProgress = now + configuration.progressInterval
    followTimetable()
    for (transfer, _) in exchanges {
      guard let part = transfer.part else { continue }
      reportProgress(of: transfer, byteCount: part.byteCount, total: part.wholeByteCount)
    }
  }

  func reportProgress(of transfer: Transfer, byteCount: Int, total: Int?) {
    guard byteCount != transfer.reportedByteCount else { return }
    transfer.reportedByteCount = byteCount
    emit(.progress(requestID: transfer.request.id, byteCount: byteCount, totalByteCount: total))
  }
}
