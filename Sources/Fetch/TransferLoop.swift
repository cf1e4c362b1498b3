// The one thread around curl_multi_poll: slots, hosts, rates, stalls, events.
// What becomes of an attempt is in TransferLoop+Attempts.swift.
//
// Invariants:
// 1. Only this thread touches the multi handle, its easy handles, transfers and
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
    /// R13: what one answer asks of us holds for all requests to the host.
    var notBefore: ContinuousClock.Instant?
    var refusalsInARow = 0
    /// Bytes per second of single transfers, window by window, the newest last.
    private var rates: [Double] = []

    mutating func add(rate: Double) {
      rates.append(rate)
      if rates.count > 32 { rates.removeFirst() }
    }

    /// What a transfer usually reaches; nil before enough of them ran.
    var medianRate: Double? { rates.count < 3 ? nil : rates.sorted()[rates.count / 2] }
  }

  let configuration: FetchConfiguration
  let control: LoopControl
  let multi: UnsafeMutableRawPointer
  let pool = BlockPool()
  var transfers: [UInt: Transfer] = [:]
  var hosts: [String: Host] = [:]
  var jitter: SplitMix64
  var isStopping = false
  /// Bytes per second that all transfers may take now.
  private var limit: Int?
  /// Whether exchanges under way were told a limit.
  private var hasLimited = false

  private let supply: @Sendable () throws -> FetchSupply
  private let onEvent: @Sendable (FetchEvent) -> Void
  private var supplyHasEnded = false
  private var supplyError: (any Error)?
  /// When to ask a supply again that had nothing.
  private var nextSupply = ContinuousClock.now
  private var nextTag: UInt = 1
  private var nextProgress = ContinuousClock.now

  init(
    configuration: FetchConfiguration, control: LoopControl, supply: @escaping @Sendable () throws -> FetchSupply,
    onEvent: @escaping @Sendable (FetchEvent) -> Void
  ) throws(TarnError) {
    try CurlLibrary.prepare()
    guard (1...64).contains(configuration.jobs), configuration.transfersPerHost > 0 else {
      throw TarnError(.usage, "\(configuration.jobs) jobs", hint: "choose from 1 to 64")
    }
    // https://curl.se/libcurl/c/curl_multi_init.html
    guard let multi = unsafe curl_multi_init() else { throw TarnError(.io, "out of memory for transfers") }
    unsafe self.multi = multi
    self.configuration = configuration
    self.control = control
    self.supply = supply
    self.onEvent = onEvent
    jitter = configuration.jitter()
    limit = configuration.bandwidthNow().limit(at: Date())
    _ = unsafe ccurl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, configuration.jobs * 2)
  }

  deinit { unsafe curl_multi_cleanup(multi) }

  /// Serves until nothing is left.
  func run() throws {
    unsafe control.attach(multi)
    defer { unsafe control.attach(nil) }
    while true {
      for (tag, report) in control.takeReports() {
        guard let transfer = transfers[tag] else { continue }
        take(report, of: transfer)
      }
      if control.isCancelled, !isStopping { stopEverything() }
      if control.takeWake() { nextSupply = .now }
      removeEnded()
      pullRequests()
      startWaiting()
      continueThrottled()
      try performTransfers()
      removeEnded()
      endStalled()
      rerollSlow()
      reportProgress()
      if transfers.isEmpty, supplyHasEnded { break }
      try poll()
    }
    if isStopping { throw CancellationError() }
    if let supplyError { throw supplyError }
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
      guard let transfer = transfers[tag], case .waiting(let until) = transfer.phase,
        due(transfer, until) <= now, !isBlocked(transfer)
      else { continue }
      let origin = transfer.address.origin
      hosts[origin, default: Host()].activeCount += 1
      transfer.heldOrigin = origin
      begin(transfer)
    }
  }

  /// When a waiting transfer may start, as far as time decides.
  private func due(_ transfer: Transfer, _ until: ContinuousClock.Instant) -> ContinuousClock.Instant {
    max(until, hosts[transfer.address.origin]?.notBefore ?? until)
  }

  /// Whether a waiting transfer waits for an event and not for a time.
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

  // MARK: libcurl

  /// Puts an exchange into the multi handle.
  func add(_ exchange: HTTPExchange, of transfer: Transfer) throws(TarnError) {
    // https://curl.se/libcurl/c/curl_multi_add_handle.html
    guard unsafe curl_multi_add_handle(multi, exchange.handle) == CURLM_OK else {
      throw TarnError(.io, "libcurl does not take a transfer")
    }
    transfer.phase = .exchanging(exchange)
    transfer.windowStart = .now
    transfer.windowByteCount = 0
    transfer.rerollStart = .now
    transfer.rerollByteCount = 0
    shareBandwidth()
  }

  /// Takes an exchange out of the multi handle; the phase must change next.
  func remove(_ exchange: HTTPExchange, of transfer: Transfer) {
    // https://curl.se/libcurl/c/curl_multi_remove_handle.html
    _ = unsafe curl_multi_remove_handle(multi, exchange.handle)
    transfer.phase = .waiting(until: .now)
    shareBandwidth()
  }

  private var exchanges: [(Transfer, HTTPExchange)] {
    transfers.values.compactMap {
      if case .exchanging(let exchange) = $0.phase { ($0, exchange) } else { nil }
    }
  }

  /// Splits the limit evenly over what runs.
  private func shareBandwidth() {
    guard hasLimited || limit != nil else { return }
    hasLimited = limit != nil
    let running = exchanges
    for (_, exchange) in running { exchange.limit(to: limit.map { max(1, $0 / running.count) }) }
  }

  /// Takes up what the timetable and the user say by now.
  private func followTimetable() {
    let due = configuration.bandwidthNow().limit(at: Date())
    guard due != limit else { return }
    limit = due
    shareBandwidth()
    // What came under the old limit says nothing of the connection.
    for (transfer, exchange) in exchanges { restartWindows(of: transfer, exchange) }
  }

  /// Goes on reading where the limit allows it by now.
  private func continueThrottled() {
    let now = ContinuousClock.now
    for (_, exchange) in exchanges where exchange.isThrottled { exchange.continueIfDue(at: now) }
  }

  private func restartWindows(of transfer: Transfer, _ exchange: HTTPExchange) {
    transfer.windowStart = .now
    transfer.windowByteCount = exchange.answer.heardByteCount
    transfer.rerollStart = .now
    transfer.rerollByteCount = exchange.answer.heardByteCount
  }

  private func performTransfers() throws {
    var running: Int32 = 0
    // https://curl.se/libcurl/c/curl_multi_perform.html
    try check(unsafe curl_multi_perform(multi, &running))
    while true {
      var easy: UnsafeMutableRawPointer?
      var result = CURLE_OK
      guard unsafe ccurl_multi_next_finished(multi, &easy, &result) == 1 else { break }
      var tag: UInt = 0
      guard unsafe ccurl_get_tag(easy, &tag) == CURLE_OK, let transfer = transfers[tag],
        case .exchanging(let exchange) = transfer.phase
      else { continue }
      remove(exchange, of: transfer)
      exchangeEnded(exchange, of: transfer, result: result)
    }
    for (transfer, exchange) in exchanges { holdUpIfBehind(transfer, exchange) }
  }

  /// Stops reading from a server that is faster than the disk, until the disk
  /// has caught up: on HTTP/1.1 that is TCP's own back pressure (R15).
  private func holdUpIfBehind(_ transfer: Transfer, _ exchange: HTTPExchange) {
    guard let isBehind = transfer.part?.isBehind, isBehind != exchange.isPaused else { return }
    exchange.pause(isBehind)
    // The time spent waiting is not the server's.
    restartWindows(of: transfer, exchange)
  }

  private func poll() throws {
    let now = ContinuousClock.now
    var wait = Duration.seconds(1)
    if !transfers.isEmpty { wait = min(wait, configuration.progressInterval) }
    if !supplyHasEnded, transfers.count < configuration.jobs { wait = min(wait, nextSupply - now) }
    for transfer in transfers.values {
      switch transfer.phase {
      case .waiting(let until): if !isBlocked(transfer) { wait = min(wait, due(transfer, until) - now) }
      case .exchanging(let exchange):
        if let pause = exchange.throttleWait(at: now) { wait = min(wait, pause) }
        if !exchange.isPaused { wait = min(wait, transfer.windowStart + configuration.stallTimeout - now) }
      default: break
      }
    }
    // Rounded up, or the last millisecond of a wait would spin.
    let milliseconds = max(.zero, wait).milliseconds + (wait > .zero ? 1 : 0)
    // > numfds ... may be NULL
    // https://curl.se/libcurl/c/curl_multi_poll.html
    try check(unsafe curl_multi_poll(multi, nil, 0, Int32(min(milliseconds, 1_000)), nil))
  }

  private func check(_ result: CURLMcode) throws {
    guard result == CURLM_OK else {
      throw TarnError(.io, "libcurl failed: \(unsafe String(cString: curl_multi_strerror(result)))")
    }
  }

  // MARK: Time

  /// R14: a transfer that brings too little for too long is given up.
  private func endStalled() {
    let now = ContinuousClock.now
    let running = exchanges
    for (transfer, exchange) in running
    where !exchange.isPaused && now - transfer.windowStart >= configuration.stallTimeout {
      var wanted = configuration.stallByteCount
      if let limit {
        let share = limit / running.count * configuration.stallTimeout.milliseconds / 1_000
        wanted = min(wanted, max(1, share / 2))
      }
      if exchange.answer.heardByteCount - transfer.windowByteCount < wanted {
        remove(exchange, of: transfer)
        exchangeStalled(exchange, of: transfer)
      } else {
        transfer.windowStart = now
        transfer.windowByteCount = exchange.answer.heardByteCount
      }
    }
  }

  /// Begins transfers again that are much slower than the others from their
  /// host, which a limit of ours must not be the cause of.
  private func rerollSlow() {
    let now = ContinuousClock.now
    guard limit == nil else { return }
    let ripe = exchanges.filter { transfer, exchange in
      !exchange.isPaused && now - transfer.rerollStart >= configuration.rerollWindow
    }
    guard !ripe.isEmpty else { return }
    for (transfer, exchange) in ripe {
      let origin = exchange.address.origin
      let seconds = (now - transfer.rerollStart).seconds
      let rate = Double(exchange.answer.heardByteCount - transfer.rerollByteCount) / seconds
      let median = hosts[origin]?.medianRate
      hosts[origin, default: Host()].add(rate: rate)
      restartWindows(of: transfer, exchange)
      guard let median, rate < configuration.rerollShare * median,
        transfer.rerollCount < configuration.rerollsPerTransfer
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
