// One request to one address and its answer: owns a libcurl easy handle, sets
// it up, and lets no byte through before the answer was classified.

internal import CCurl
internal import Catalog
internal import Foundation

/// An exchange with a server: a request, the verdict on its head, its body.
///
/// Lives on the loop's thread; libcurl calls it back there only.
@safe final class HTTPExchange {
  /// What is asked for, apart from the address.
  struct Order {
    var question: RangeQuestion
    /// Header lines for this origin, credentials among them.
    var headers: [String]
    var condition: EntityValidator?
    /// Who is asked, in the resume point's terms.
    var source: ContentDigest
  }

  let address: WebAddress
  let order: Order
  /// The decision on the head; nil until it is whole.
  private(set) var verdict: Verdict?
  private(set) var statusCode: Int?
  /// Why the exchange was broken off from this side.
  private(set) var failure: FetchError?
  /// Body bytes that went into the part file.
  private(set) var receivedByteCount = 0
  /// Everything the server sent, to tell a stalled one.
  private(set) var heardByteCount = 0

  /// Whether reading waits for the disk.
  private(set) var isPaused = false

  private let part: PartFile
  private var reader = ResponseHeadReader()
  /// Bytes of an unwanted body that are read so that the connection lives on.
  private var patience = 64 << 10
  private let easy: UnsafeMutableRawPointer
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private let errorBuffer: UnsafeMutablePointer<CChar>

  var handle: UnsafeMutableRawPointer { unsafe easy }

  init(
    to address: WebAddress, order: Order, part: PartFile, tag: UInt, configuration: FetchConfiguration
  ) throws(FetchError) {
    guard let easy = unsafe curl_easy_init() else { throw FetchError(.io, "out of memory for a transfer") }
    unsafe self.easy = easy
    unsafe errorBuffer = .allocate(capacity: Int(CURL_ERROR_SIZE))
    unsafe errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    self.address = address
    self.order = order
    self.part = part
    try setUp(tag: tag, configuration: configuration)
  }

  deinit {
    // https://curl.se/libcurl/c/curl_easy_cleanup.html
    unsafe curl_easy_cleanup(easy)
    unsafe curl_slist_free_all(headerList)
    unsafe errorBuffer.deallocate()
  }

  // MARK: Set-up

  private func setUp(tag: UInt, configuration: FetchConfiguration) throws(FetchError) {
    try set(CURLOPT_URL, address.url)
    // 7.88 can report an aborted HTTP/2 body as complete (curl #10693).
    try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
    try set(CURLOPT_PROTOCOLS_STR, "http,https")
    // S1: libcurl sends custom headers on to the host of a redirect.
    try set(CURLOPT_FOLLOWLOCATION, 0)
    try set(CURLOPT_FAILONERROR, 0)
    try set(CURLOPT_HTTP_CONTENT_DECODING, 0)
    try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    // libcurl keeps to a rate one buffer at a time.
    try set(CURLOPT_BUFFERSIZE, configuration.bytesPerSecondLimit == nil ? 1 << 20 : 64 << 10)
    try set(CURLOPT_TCP_KEEPALIVE, 1)
    try set(CURLOPT_NOSIGNAL, 1)
    try set(CURLOPT_CONNECTTIMEOUT_MS, max(1, configuration.connectTimeout.milliseconds))
    try set(CURLOPT_USERAGENT, configuration.userAgent)
    if let proxy = configuration.proxy { try set(CURLOPT_PROXY, proxy) }
    if let path = configuration.certificateAuthorityPath { try set(CURLOPT_CAINFO, path) }
    var lines = ["Accept-Encoding: identity"]  // R1
    let question = order.question
    if question.offset > 0 {
      try set(CURLOPT_RANGE, "\(question.offset)-")
      if question.rangeGuard == .ifRange, let value = question.partialValidator.ifRange {
        lines.append("If-Range: \(value)")
      }
    } else if let condition = order.condition {
      if let etag = condition.etag {
        lines.append("If-None-Match: \(etag)")
      } else if let date = condition.lastModified {
        lines.append("If-Modified-Since: \(date)")
      }
    }
    for line in lines + order.headers {
      guard line.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
        throw FetchError(.usage, "a header for \(address.origin) has a control character")
      }
      // https://curl.se/libcurl/c/curl_slist_append.html
      guard let longer = unsafe curl_slist_append(headerList, line) else {
        throw FetchError(.io, "out of memory for a request")
      }
      unsafe headerList = longer
    }
    try check(unsafe ccurl_set_headers(easy, headerList))
    try check(unsafe ccurl_set_error_buffer(easy, errorBuffer))
    try check(unsafe ccurl_set_tag(easy, tag))
    // The context is unretained: the transfer keeps the exchange for as long as
    // its handle is in the multi handle.
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    try check(
      unsafe ccurl_set_callbacks(
        easy,
        { bytes, size, count, context in
          guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
          let exchange = unsafe Unmanaged<HTTPExchange>.fromOpaque(context).takeUnretainedValue()
          let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
          return unsafe exchange.takeHeader(Array(line)) ? size * count : 0
        },
        { bytes, size, count, context in
          guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
          let exchange = unsafe Unmanaged<HTTPExchange>.fromOpaque(context).takeUnretainedValue()
          let body = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
          return unsafe exchange.takeBody(body.bytes) ? size * count : 0
        }, context))
  }

  /// Limits the rate from now on, in bytes per second; nil lifts the limit.
  func limit(to bytesPerSecond: Int?) {
    // https://curl.se/libcurl/c/CURLOPT_MAX_RECV_SPEED_LARGE.html
    _ = unsafe ccurl_set_offset(easy, CURLOPT_MAX_RECV_SPEED_LARGE, curl_off_t(bytesPerSecond ?? 0))
  }

  /// Stops or goes on reading; never called from within a callback.
  func pause(_ isPaused: Bool) {
    self.isPaused = isPaused
    // https://curl.se/libcurl/c/curl_easy_pause.html
    _ = unsafe curl_easy_pause(easy, isPaused ? CURLPAUSE_RECV : CURLPAUSE_CONT)
  }

  private func set(_ option: CURLoption, _ value: Int) throws(FetchError) {
    try check(unsafe ccurl_set_long(easy, option, value))
  }

  private func set(_ option: CURLoption, _ value: String) throws(FetchError) {
    try check(unsafe ccurl_set_string(easy, option, value))
  }

  private func check(_ result: CURLcode) throws(FetchError) {
    guard result == CURLE_OK else {
      throw FetchError(.io, "libcurl refuses an option: \(unsafe String(cString: curl_easy_strerror(result)))")
    }
  }

  // MARK: The answer

  /// Takes a header line; false breaks the exchange off.
  private func takeHeader(_ line: [UInt8]) -> Bool {
    heardByteCount += line.count
    // Trailers after a chunked body change nothing.
    guard verdict == nil, failure == nil else { return failure == nil }
    switch reader.read(line) {
    case .more: return true
    case .malformed(let cause):
      failure = FetchError(.integrity, cause)
      return false
    case .head(let head):
      statusCode = head.statusCode
      let verdict = ResponseClassifier.classify(head, to: order.question, at: Date())
      self.verdict = verdict
      switch verdict {
      case .acceptFromStart(let promise): part.accept(promise, from: order.source, startingOver: true)
      case .acceptAtOffset(let promise): part.accept(promise, from: order.source, startingOver: false)
      default: break
      }
      return true
    }
  }

  /// Takes body bytes; false breaks the exchange off.
  private func takeBody(_ bytes: RawSpan) -> Bool {
    heardByteCount += bytes.byteCount
    switch verdict {
    case .acceptFromStart(let promise), .acceptAtOffset(let promise):
      do throws(FetchError) {
        if let limit = promise.bodyByteCount, receivedByteCount + bytes.byteCount > limit {
          throw FetchError(.integrity, "more than the \(limit) bytes that were promised")
        }
        receivedByteCount += bytes.byteCount
        try part.receive(bytes)
        return true
      } catch {
        failure = error
        return false
      }
    case nil: return false
    default:
      patience -= bytes.byteCount
      return patience >= 0
    }
  }

  // MARK: The end

  /// What a broken exchange means, from libcurl's result.
  ///
  /// - SeeAlso: https://curl.se/libcurl/c/libcurl-errors.html
  func networkError(_ result: CURLcode) -> FetchError {
    var text = unsafe String(cString: errorBuffer)
    if text.isEmpty { text = unsafe String(cString: curl_easy_strerror(result)) }
    // libcurl may quote an address in full.
    let cause = text.contains("://") ? unsafe String(cString: curl_easy_strerror(result)) : printable(text, limit: 300)
    switch result {
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
      CURLE_SSL_CRL_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS,
      CURLE_SSL_ENGINE_NOTFOUND, CURLE_USE_SSL_FAILED:
      return FetchError(.tls, cause)
    case CURLE_URL_MALFORMAT: return FetchError(.usage, cause)
    // The address was HTTP: it is the answer that is something else.
    case CURLE_UNSUPPORTED_PROTOCOL: return FetchError(.integrity, cause)
    case CURLE_OUT_OF_MEMORY: return FetchError(.io, cause)
    default: return FetchError(.temporary, cause)
    }
  }
}

extension Duration {
  /// Whole milliseconds, rounded down.
  var milliseconds: Int {
    let (seconds, attoseconds) = components
    return Int(seconds) * 1_000 + Int(attoseconds / 1_000_000_000_000_000)
  }
}
