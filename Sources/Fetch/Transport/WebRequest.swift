// One libcurl easy handle: options as the settings sheet of fetching wants
// them, header lines, and callbacks into its owner. Knows nothing of shards.

internal import Base
internal import CCurl
internal import Foundation

/// What a header line made of an answer.
enum HeadStep {
  case more
  /// The head is whole; what follows is the body.
  case answered
  /// Breaks the exchange off.
  case refused
}

/// Who takes what a server sends.
protocol WebRequestOwner: AnyObject {
  var request: WebRequest { get }
  func takeHeader(_ line: [UInt8]) -> HeadStep
  /// Takes a piece of the body; false breaks the exchange off.
  func takeBody(_ bytes: RawSpan) -> Bool
}

/// A request to one address: an easy handle and what must live as long as it.
///
/// A handle serves one request (S3): none carries what authorised another.
/// Lives on its loop's thread; libcurl calls back there only.
@safe final class WebRequest {
  /// What is asked of the server.
  struct Form {
    var address: WebAddress
    var tag: UInt
    /// `HEAD` instead of `GET`.
    var isHead = false
    /// Another method than the one that follows from the rest.
    var method: String?
    /// What is sent; nil for nothing.
    var body: RequestBody?
    /// Most bytes of it a second; nil for no limit.
    var bytesPerSecond: Int?
    /// Whether ``lines`` sign the request already.
    var isSigned = false
    /// Bytes asked for, as in `100-`; nil for all.
    var range: String?
    /// Header lines, credentials among them.
    var lines: [String] = []
    /// What `Authorization` says by the user's netrc file (S9); nil for nothing.
    var login: String?
    /// How long all of it may take; nil for no end of its own (R14).
    var wholeTimeout: Duration?
  }

  /// Bytes read from a socket at a time: few enough to be in the cache when
  /// they are copied out, enough that the loop seldom turns for them.
  private static let receiveByteCount = 512 << 10
  /// The most bytes of header lines that one answer may have, from its first
  /// status line to its last trailer: libcurl keeps them all.
  package static let mostHeaderByteCount = 256 << 10

  let tag: UInt
  /// Everything the server sent, headers included.
  private(set) var heardByteCount = 0
  /// Of it the header lines: of the answer, of those before it (1xx), and behind
  /// its body.
  private var headerByteCount = 0
  /// Whether reading waits for its owner, and whether for its rate.
  private(set) var isPaused = false
  private(set) var isThrottled = false

  private let easy: UnsafeMutableRawPointer
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private let errorBuffer: UnsafeMutablePointer<CChar>
  /// Unsafe, as libcurl calls for every 16 KiB: the owner keeps this request, and
  /// its loop the owner for as long as the handle is in the multi handle.
  unowned(unsafe) var owner: (any WebRequestOwner)?
  private let address: WebAddress
  /// S9: whether a password travels in the clear, so that whom it reaches is looked at.
  private let isConfiding: Bool
  /// Whether it was asked without the login that it was to have, as who is there may not get it.
  private(set) var isLoginWithheld = false
  private let configuration: FetchConfiguration
  /// S6: asked before a connection is made or used again, if that is not free.
  private var peerCheck: UnsafeMutablePointer<ccurl_peer_check>?
  private var refusal: TarnError?
  private var watch: RequestWatch
  /// What is sent, and the watch over that: the answer is waited for once it is out.
  private let body: RequestBody?
  private let sendingRate: Int?
  private var sending: RequestWatch?
  private var pacer = Pacer()

  var handle: UnsafeMutableRawPointer { unsafe easy }

  /// Prepares a request; its owner must be set before it is driven.
  init(_ form: Form, configuration: FetchConfiguration) throws(TarnError) {
    guard let easy = unsafe curl_easy_init() else { throw TarnError(.io, "out of memory for a transfer") }
    unsafe self.easy = easy
    unsafe errorBuffer = .allocate(capacity: Int(CURL_ERROR_SIZE))
    unsafe errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    tag = form.tag
    address = form.address
    isConfiding = form.login != nil && form.address.scheme == .http
    body = form.body
    sendingRate = form.bytesPerSecond
    self.configuration = configuration
    var rules = configuration.watch
    rules.wholeTimeout = form.wholeTimeout
    watch = RequestWatch(rules, at: .now)
    try setUp(form, configuration)
    try setUpCallbacks()
    if address.reach != nil || isConfiding { try setUpPeerCheck() }
  }

  deinit {
    // https://curl.se/libcurl/c/curl_easy_cleanup.html
    unsafe curl_easy_cleanup(easy)
    unsafe curl_slist_free_all(headerList)
    unsafe errorBuffer.deallocate()
    unsafe peerCheck?.deallocate()
  }

  private func setUp(_ form: Form, _ configuration: FetchConfiguration) throws(TarnError) {
    try set(CURLOPT_URL, form.address.url)
    // 7.88 can report an aborted HTTP/2 body as complete (curl #10693).
    try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
    try set(CURLOPT_PROTOCOLS_STR, "http,https")
    // S1: libcurl sends custom headers on to the host of a redirect.
    try set(CURLOPT_FOLLOWLOCATION, 0)
    try set(CURLOPT_FAILONERROR, 0)
    try set(CURLOPT_HTTP_CONTENT_DECODING, 0)
    try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    if form.isHead { try set(CURLOPT_NOBODY, 1) }
    if let body = form.body { try setUpSending(body, form.bytesPerSecond) }
    if let method = form.method { try set(CURLOPT_CUSTOMREQUEST, method) }
    try set(CURLOPT_BUFFERSIZE, Self.receiveByteCount)
    try set(CURLOPT_TCP_KEEPALIVE, 1)
    try set(CURLOPT_NOSIGNAL, 1)
    try set(CURLOPT_CONNECTTIMEOUT_MS, max(1, configuration.connectTimeout.milliseconds))
    // Else whoever removes a request waits until its name is resolved, and all that the loop drives with it. An older
    // libcurl than 7.87 does not know it. https://curl.se/libcurl/c/CURLOPT_QUICK_EXIT.html
    let result = unsafe ccurl_set_long(easy, CURLOPT_QUICK_EXIT, 1)
    if result != CURLE_UNKNOWN_OPTION { try check(result) }
    try set(CURLOPT_USERAGENT, configuration.userAgent)
    if let proxy = configuration.proxy { try set(CURLOPT_PROXY, proxy) }
    if let path = configuration.certificateAuthorityPath { try set(CURLOPT_CAINFO, path) }
    if let range = form.range { try set(CURLOPT_RANGE, range) }
    // R1: the body's bytes must be the file's bytes. Not a header line of ours,
    // which libcurl would sign: proxies change this one.
    try set(CURLOPT_ACCEPT_ENCODING, "identity")
    let login = form.login.map { ["Authorization: \($0)"] } ?? []
    for line in form.lines + login + (try sign(form, configuration)) {
      guard line.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
        throw TarnError(.usage, "a header for \(form.address.origin) has a control character")
      }
      // https://curl.se/libcurl/c/curl_slist_append.html
      guard let longer = unsafe curl_slist_append(headerList, line) else {
        throw TarnError(.io, "out of memory for a request")
      }
      unsafe headerList = longer
    }
    try check(unsafe ccurl_set_headers(easy, headerList))
    try check(unsafe ccurl_set_error_buffer(easy, errorBuffer))
    try check(unsafe ccurl_set_tag(easy, form.tag))
  }

  /// Has libcurl sign the request, if it goes to a store.
  ///
  /// - Returns: Further header lines, which are signed with it.
  /// - Throws: ``TarnError``.
  private func sign(_ form: Form, _ configuration: FetchConfiguration) throws(TarnError) -> [String] {
    guard form.address.isSigned, !form.isSigned, let signature = try configuration.s3.signature() else { return [] }
    // https://curl.se/libcurl/c/CURLOPT_AWS_SIGV4.html
    try set(CURLOPT_AWS_SIGV4, signature.provider)
    try set(CURLOPT_USERNAME, signature.accessKey)
    try set(CURLOPT_PASSWORD, signature.secretKey)
    return signature.lines
  }

  private func setUpCallbacks() throws(TarnError) {
    // The context is unretained for the same reason as the owner.
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    try check(
      unsafe ccurl_set_callbacks(
        easy,
        { bytes, size, count, context in
          guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
          let request = unsafe Unmanaged<WebRequest>.fromOpaque(context).takeUnretainedValue()
          let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
          return unsafe request.takeHeader(Array(line)) ? size * count : 0
        },
        { bytes, size, count, context in
          guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
          let request = unsafe Unmanaged<WebRequest>.fromOpaque(context).takeUnretainedValue()
          let body = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
          return unsafe request.takeBody(body.bytes)
        }, context))
  }

  /// Has libcurl take the body's bytes from `body`, which the form's owner keeps.
  private func setUpSending(_ body: RequestBody, _ bytesPerSecond: Int?) throws(TarnError) {
    try check(
      unsafe ccurl_set_upload(
        easy,
        { bytes, size, count, context in
          guard let bytes = unsafe bytes, let context = unsafe context else { return Int(CURL_READFUNC_ABORT) }
          let body = unsafe Unmanaged<RequestBody>.fromOpaque(context).takeUnretainedValue()
          return unsafe body.read(into: UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
            ?? Int(CURL_READFUNC_ABORT)
        },
        { context, offset, origin in
          guard let context = unsafe context, origin == SEEK_SET else { return CURL_SEEKFUNC_CANTSEEK }
          unsafe Unmanaged<RequestBody>.fromOpaque(context).takeUnretainedValue().seek(to: Int(offset))
          return CURL_SEEKFUNC_OK
        }, Unmanaged.passUnretained(body).toOpaque(), Int64(body.byteCount), Int64(bytesPerSecond ?? 0)))
  }

  private func takeHeader(_ line: [UInt8]) -> Bool {
    heardByteCount += line.count
    headerByteCount += line.count
    // Of a name with several addresses one may be denied and the next allowed: who answers is what the request is about.
    refusal = nil
    guard headerByteCount <= Self.mostHeaderByteCount else {
      refusal = TarnError(.integrity, "more than \(Self.mostHeaderByteCount >> 10) KiB of headers")
      return false
    }
    switch unsafe owner?.takeHeader(line) {
    case .more: return true
    case .answered:
      watch.answered(heard: heardByteCount, at: .now)
      return true
    case .refused, nil: return false
    }
  }

  /// Takes a piece of the body, or leaves it with libcurl until its rate allows it.
  ///
  /// - Returns: What libcurl's callback returns.
  private func takeBody(_ bytes: RawSpan) -> Int {
    guard pacer.take(bytes.byteCount, at: .now) else {
      isThrottled = true
      return Int(CURL_WRITEFUNC_PAUSE)
    }
    heardByteCount += bytes.byteCount
    return unsafe owner?.takeBody(bytes) == true ? bytes.byteCount : 0
  }

  private func setUpPeerCheck() throws(TarnError) {
    let check = UnsafeMutablePointer<ccurl_peer_check>.allocate(capacity: 1)
    unsafe check.initialize(
      to: ccurl_peer_check(
        allows: { address, port, isConnected, context in
          guard let address = unsafe address, let context = unsafe context else { return 0 }
          let request = unsafe Unmanaged<WebRequest>.fromOpaque(context).takeUnretainedValue()
          let peer = Peer(address: unsafe String(cString: address), port: Int(port))
          return request.allows(peer, isConnected: isConnected != 0) ? 1 : 0
        }, context: Unmanaged.passUnretained(self).toOpaque()))
    unsafe peerCheck = check
    try self.check(unsafe ccurl_set_peer_check(easy, check))
  }

  private func allows(_ peer: Peer, isConnected: Bool) -> Bool {
    // Whom a name leads to is known only now, and nothing was sent yet.
    if isConfiding, isConnected, !configuration.mayGetLogin(peer, for: address) {
      unsafe ccurl_empty_header(headerList, "Authorization")
      isLoginWithheld = true
    }
    guard let refusal = configuration.refusal(of: peer, for: address) else { return true }
    self.refusal = refusal
    return false
  }

  /// Who answered; nil before someone did.
  var peer: Peer? {
    var text: UnsafePointer<CChar>?
    var port = 0
    guard unsafe ccurl_get_peer(easy, &text, &port) == CURLE_OK, let text = unsafe text else { return nil }
    let address = unsafe String(cString: text)
    return address.isEmpty ? nil : Peer(address: address, port: port)
  }

  // MARK: Time

  /// The request is sent now.
  func begin(at now: ContinuousClock.Instant) {
    watch = RequestWatch(watch.rules, at: now)
    guard let body, body.byteCount > 0 else { return }
    sending = RequestWatch(watch.rules.sending(atMost: sendingRate), at: now)
    sending?.answered(heard: 0, at: now)
  }

  /// R14: why to give the request up; nil to go on.
  func look(at now: ContinuousClock.Instant) -> RequestWatch.Reason? {
    if let body, sending != nil {
      guard body.isSpent || heardByteCount > 0 else {
        return sending?.look(heard: body.sentByteCount, isReading: true, at: now)
      }
      sending = nil
      watch = RequestWatch(watch.rules, at: now)
    }
    return watch.look(heard: heardByteCount, isReading: !isPaused && !isThrottled, at: now)
  }

  /// Limits the rate from now on, in bytes per second; nil lifts the limit.
  func limit(to bytesPerSecond: Int?) { pacer.bytesPerSecond = bytesPerSecond }

  /// Begins with bytes that other transfers took beyond what was allowed.
  func owe(_ byteCount: Double, at now: ContinuousClock.Instant) { pacer.owe(byteCount, at: now) }

  /// Bytes that were taken beyond what is allowed by then.
  func debt(at now: ContinuousClock.Instant) -> Double { pacer.debt(at: now) }

  /// How long the rate holds reading up; nil when it does not.
  func throttleWait(at now: ContinuousClock.Instant) -> Duration? {
    isThrottled && !isPaused ? pacer.wait(at: now) : nil
  }

  /// Goes on reading if the rate allows it by now; never called from within a
  /// callback.
  func continueIfDue(at now: ContinuousClock.Instant) {
    guard throttleWait(at: now) == .zero else { return }
    isThrottled = false
    setPause(false)
  }

  /// Stops or goes on reading; never called from within a callback.
  func pause(_ isPaused: Bool) {
    self.isPaused = isPaused
    isThrottled = false
    setPause(isPaused)
  }

  private func setPause(_ isPaused: Bool) {
    // https://curl.se/libcurl/c/curl_easy_pause.html
    _ = unsafe curl_easy_pause(easy, isPaused ? CURLPAUSE_RECV : CURLPAUSE_CONT)
  }

  private func set(_ option: CURLoption, _ value: Int) throws(TarnError) {
    try check(unsafe ccurl_set_long(easy, option, value))
  }

  private func set(_ option: CURLoption, _ value: String) throws(TarnError) {
    try check(unsafe ccurl_set_string(easy, option, value))
  }

  private func check(_ result: CURLcode) throws(TarnError) {
    guard result == CURLE_OK else {
      throw TarnError(.io, "libcurl refuses an option: \(unsafe String(cString: curl_easy_strerror(result)))")
    }
  }

  /// What a broken exchange means.
  func networkError(_ end: RequestEnd) -> TarnError {
    if let refusal { return refusal }
    switch end {
    case .finished(let result): return networkError(result)
    case .gaveUp(.unanswered):
      return TarnError(.temporary, "no answer within \(watch.rules.answerTimeout.text)")
    case .gaveUp(.stalled):
      let rules = (sending ?? watch).rules
      let (count, time) = (rules.stallByteCount, rules.stallTimeout.text)
      let verb = sending == nil ? "came" : "were taken"
      return TarnError(.temporary, "the transfer stalled: fewer than \(count) bytes \(verb) within \(time)")
    case .gaveUp(.outOfTime):
      return TarnError(.temporary, "no answer within \((watch.rules.wholeTimeout ?? .zero).text)")
    }
  }

  /// What libcurl's result means.
  ///
  /// - SeeAlso: https://curl.se/libcurl/c/libcurl-errors.html
  private func networkError(_ result: CURLcode) -> TarnError {
    var text = unsafe String(cString: errorBuffer)
    if text.isEmpty { text = unsafe String(cString: curl_easy_strerror(result)) }
    // libcurl may quote an address in full.
    let cause = text.contains("://") ? unsafe String(cString: curl_easy_strerror(result)) : printable(text, limit: 300)
    switch result {
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
      CURLE_SSL_CRL_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS,
      CURLE_SSL_ENGINE_NOTFOUND, CURLE_USE_SSL_FAILED:
      return TarnError(.tls, cause)
    case CURLE_URL_MALFORMAT: return TarnError(.usage, cause)
    // The address was HTTP: it is the answer that is something else.
    case CURLE_UNSUPPORTED_PROTOCOL: return TarnError(.integrity, cause)
    // What libcurl says, too, of a header line that is longer than it takes; once
    // someone answered, that is the reason.
    case CURLE_OUT_OF_MEMORY where peer != nil:
      return TarnError(.integrity, "a line of its headers or trailers is longer than any should be (\(cause))")
    case CURLE_OUT_OF_MEMORY: return TarnError(.io, cause)
    default: return TarnError(.temporary, cause)
    }
  }
}

extension Duration {
  /// Whole milliseconds, rounded down.
  var milliseconds: Int {
    let (seconds, attoseconds) = components
    return Int(seconds) * 1_000 + Int(attoseconds / 1_000_000_000_000_000)
  }

  /// As people read it: `30 s`, `250 ms`.
  var text: String { milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000) s" : "\(milliseconds) ms" }
}
