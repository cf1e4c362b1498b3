// libcurl's multi handle: the requests of one thread, driven together, and the
// end of each. No request is driven otherwise, so none is without a watch.
//
// Invariants:
// 1. Only the thread that made it touches it, its requests included.
// 2. Every request that was added ends once: it is removed, or `turn` returns
//    it with its end, no later than its `RequestWatch` allows.

internal import Base
internal import CCurl
internal import Glibc

/// How a request ended, as far as the transport knows.
enum RequestEnd: Equatable {
  /// libcurl's result.
  case finished(CURLcode)
  /// Broken off from this side.
  case gaveUp(RequestWatch.Reason)

  var isOK: Bool { self == .finished(CURLE_OK) }
}

/// The requests of one thread.
@safe final class MultiHandle {
  private let multi: UnsafeMutableRawPointer
  private var requests: [UInt: WebRequest] = [:]
  private var nextLook = ContinuousClock.now

  /// How often the watches are looked at, at most.
  private static let lookInterval = Duration.milliseconds(100)

  /// Sets libcurl up.
  ///
  /// - Parameter connectionCount: Connections kept open for later requests.
  /// - Throws: ``TarnError`` `.io`.
  init(connectionCount: Int) throws(TarnError) {
    try CurlLibrary.prepare()
    // https://curl.se/libcurl/c/curl_multi_init.html
    guard let multi = unsafe curl_multi_init() else { throw TarnError(.io, "out of memory for transfers") }
    unsafe self.multi = multi
    _ = unsafe ccurl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, connectionCount)
  }

  deinit {
    for request in requests.values { _ = unsafe curl_multi_remove_handle(multi, request.handle) }
    unsafe curl_multi_cleanup(multi)
  }

  /// Makes the handle known to who wakes this thread, while `body` runs.
  func attached<Value>(to control: LoopControl, _ body: () throws -> Value) rethrows -> Value {
    unsafe control.attach(multi)
    defer { unsafe control.attach(nil) }
    return try body()
  }

  /// Begins a request; its tag tells it from the others here.
  func add(_ request: WebRequest) throws(TarnError) {
    precondition(requests[request.tag] == nil, "two requests of one tag")
    // https://curl.se/libcurl/c/curl_multi_add_handle.html
    guard unsafe curl_multi_add_handle(multi, request.handle) == CURLM_OK else {
      throw TarnError(.io, "libcurl does not take a transfer")
    }
    requests[request.tag] = request
    request.begin(at: .now)
  }

  /// Ends a request that has not ended.
  func remove(_ request: WebRequest) {
    guard requests.removeValue(forKey: request.tag) != nil else { return }
    // https://curl.se/libcurl/c/curl_multi_remove_handle.html
    _ = unsafe curl_multi_remove_handle(multi, request.handle)
  }

  /// Moves what can be moved, without waiting.
  ///
  /// - Returns: The requests that ended; they are not here any more.
  /// - Throws: ``TarnError`` if libcurl fails.
  func turn() throws(TarnError) -> [(tag: UInt, end: RequestEnd)] {
    let now = ContinuousClock.now
    for request in requests.values where request.isThrottled { request.continueIfDue(at: now) }
    var running: Int32 = 0
    // https://curl.se/libcurl/c/curl_multi_perform.html
    try check(unsafe curl_multi_perform(multi, &running))
    var ended: [(tag: UInt, end: RequestEnd)] = []
    while true {
      var easy: UnsafeMutableRawPointer?
      var result = CURLE_OK
      guard unsafe ccurl_multi_next_finished(multi, &easy, &result) == 1 else { break }
      var tag: UInt = 0
      guard unsafe ccurl_get_tag(easy, &tag) == CURLE_OK, let request = requests[tag] else { continue }
      remove(request)
      ended.append((tag, .finished(result)))
    }
    guard now >= nextLook else { return ended }
    nextLook = now + Self.lookInterval
    for (tag, request) in requests {
      guard let reason = request.look(at: now) else { continue }
      remove(request)
      ended.append((tag, .gaveUp(reason)))
    }
    return ended
  }

  /// Waits until something can be moved, a limit lets a request go on, or
  /// somebody wakes this thread; a second at most.
  func wait(atMost longest: Duration) throws(TarnError) {
    let now = ContinuousClock.now
    var wait = min(longest, .seconds(1))
    for request in requests.values { if let pause = request.throttleWait(at: now) { wait = min(wait, pause) } }
    // Rounded up, or the last millisecond of a wait would spin.
    let milliseconds = max(.zero, wait).milliseconds + (wait > .zero ? 1 : 0)
    // > numfds ... may be NULL
    // https://curl.se/libcurl/c/curl_multi_poll.html
    try check(unsafe curl_multi_poll(multi, nil, 0, Int32(min(milliseconds, 1_000)), nil))
  }

  /// Drives one request to its end, alone.
  ///
  /// - Parameters:
  ///   - exchange: The request's owner.
  ///   - bytesPerSecond: The limit of reading now; nil for none.
  ///   - isCancelled: Asked several times a second.
  /// - Returns: How it ended.
  /// - Throws: ``TarnError`` `.interrupted`.
  func perform(
    _ exchange: some WebRequestOwner, bytesPerSecond: () -> Int? = { nil }, isCancelled: () -> Bool
  ) throws(TarnError) -> RequestEnd {
    try add(exchange.request)
    defer { remove(exchange.request) }
    while true {
      if isCancelled() { throw .interrupted }
      exchange.request.limit(to: bytesPerSecond())
      if let end = try turn().first?.end { return end }
      try wait(atMost: .milliseconds(100))
    }
  }

  private func check(_ result: CURLMcode) throws(TarnError) {
    guard result == CURLM_OK else {
      throw TarnError(.io, "libcurl failed: \(unsafe String(cString: curl_multi_strerror(result)))")
    }
  }
}
