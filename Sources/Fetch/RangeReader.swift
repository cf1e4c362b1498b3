// Some bytes of a file on a server, into memory: one request at a time, every
// answer classified like a transfer's. For what is checked by its own digest. A
// server that ignores ranges loses to the next (R19).

internal import Base
internal import CCurl
internal import Foundation
internal import Glibc

/// Reads byte ranges of files from mirrors.
///
/// Blocks the thread that calls it; it lives on one.
@safe final class RangeReader {
  private let configuration: FetchConfiguration
  private let isCancelled: () -> Bool
  private let multi: UnsafeMutableRawPointer
  private var jitter: SplitMix64

  init(configuration: FetchConfiguration, isCancelled: @escaping () -> Bool) throws(TarnError) {
    try CurlLibrary.prepare()
    guard let multi = unsafe curl_multi_init() else { throw TarnError(.io, "out of memory for transfers") }
    unsafe self.multi = multi
    self.configuration = configuration
    self.isCancelled = isCancelled
    jitter = configuration.jitter()
  }

  deinit { unsafe curl_multi_cleanup(multi) }

  /// Reads a range from one mirror, asking again while its troubles may pass.
  ///
  /// - Parameters:
  ///   - range: Bytes of the file, not empty.
  ///   - total: Bytes of the whole file; an answer that says otherwise is refused.
  ///   - mirror: Where to ask.
  /// - Returns: Exactly those bytes, as the mirror has them.
  /// - Throws: ``TarnError`` of the last attempt.
  func read(_ range: Range<Int>, of total: Int, from mirror: FetchMirror) throws(TarnError) -> [UInt8] {
    let address = try configuration.address(mirror.url)
    if address.scheme == .file { return try readFile(address.filePath, range, total) }
    var attempt = 0
    while true {
      attempt += 1
      do throws(TarnError) {
        return try ask(address, range, total)
      } catch {
        guard error.code == .temporary, attempt < configuration.attemptsPerMirror else { throw error }
      }
      let ceiling = min(configuration.backoffCap, configuration.backoffBase * (1 << min(20, attempt - 1)))
      try sleep(until: .now + ceiling * Double.random(in: 0...1, using: &jitter))
    }
  }

  private func sleep(until end: ContinuousClock.Instant) throws(TarnError) {
    while ContinuousClock.now < end {
      try checkCancellation()
      usleep(UInt32(min(100_000, max(1_000, (end - .now).milliseconds * 1_000))))
    }
  }

  private func checkCancellation() throws(TarnError) {
    if isCancelled() { throw TarnError(.interrupted, "stopped") }
  }

  private func readFile(_ path: String, _ range: Range<Int>, _ total: Int) throws(TarnError) -> [UInt8] {
    guard let size = Disk.size(of: path) else { throw TarnError(.absent, "no such file") }
    guard size == total else { throw TarnError(.integrity, "\(size) bytes where the shard has \(total)") }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Disk.systemError("open", path) }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: range.count)
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pread(
          descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, off_t(range.lowerBound + done))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Disk.systemError("read", path) }
      done += count
    }
    return bytes
  }

  /// One question and its answer, redirects included.
  private func ask(_ address: WebAddress, _ range: Range<Int>, _ total: Int) throws(TarnError) -> [UInt8] {
    var address = address
    for _ in 0...5 {
      let exchange = try RangeExchange(to: address, range, total, configuration)
      let result = try perform(exchange)
      if let failure = exchange.answer.failure { throw failure }
      switch exchange.answer.verdict {
      case .acceptAtOffset:
        guard exchange.bytes.count == range.count else {
          throw result == CURLE_OK
            ? TarnError(.temporary, "\(exchange.bytes.count) of \(range.count) bytes") : exchange.networkError(result)
        }
        return exchange.bytes
      case .redirect(let location):
        address = try configuration.redirect(to: location, from: address, at: exchange.request?.peer)
      case .nextMirror(let code, let cause):
        let error = TarnError(code, cause)
        throw exchange.complaint?.explaining(error) ?? error
      case .retryLater(let wait, let cause):
        if let wait { try sleep(until: .now + wait) }
        throw TarnError(.temporary, cause)
      case .acceptFromStart, .alreadyComplete, .unchanged, .restart, .retryBareRange:
        throw TarnError(.integrity, "an answer that is no part of the shard")
      case nil: throw exchange.networkError(result)
      }
    }
    throw TarnError(.refused, "more than 5 redirects")
  }

  /// Drives one exchange to its end.
  private func perform(_ exchange: RangeExchange) throws(TarnError) -> CURLcode {
    let handle = unsafe exchange.request?.handle
    guard unsafe curl_multi_add_handle(multi, handle) == CURLM_OK else {
      throw TarnError(.io, "libcurl does not take a transfer")
    }
    defer { _ = unsafe curl_multi_remove_handle(multi, handle) }
    var windowStart = ContinuousClock.now
    var heard = 0
    while true {
      try checkCancellation()
      exchange.follow(configuration.bandwidthNow().limit(at: Date()))
      var running: Int32 = 0
      guard unsafe curl_multi_perform(multi, &running) == CURLM_OK else { throw TarnError(.io, "libcurl failed") }
      var easy: UnsafeMutableRawPointer?
      var result = CURLE_OK
      if unsafe ccurl_multi_next_finished(multi, &easy, &result) == 1 { return result }
      if exchange.answer.heardByteCount > heard {
        heard = exchange.answer.heardByteCount
        windowStart = .now
      } else if ContinuousClock.now - windowStart >= configuration.stallTimeout {
        throw TarnError(.temporary, "the transfer stalled")
      }
      guard unsafe curl_multi_poll(multi, nil, 0, 100, nil) == CURLM_OK else {
        throw TarnError(.io, "libcurl cannot wait")
      }
    }
  }
}

/// A question for a range and its answer in memory.
private final class RangeExchange: WebRequestOwner {
  private let wantedByteCount: Int
  private(set) var answer: JudgedAnswer
  private(set) var bytes: [UInt8] = []
  private(set) var request: WebRequest?
  private var pacer = Pacer()
  private var isThrottled = false
  /// What an S3 store says is wrong; nil elsewhere.
  private(set) var complaint: StoreComplaint?

  init(
    to address: WebAddress, _ range: Range<Int>, _ total: Int, _ configuration: FetchConfiguration
  ) throws(TarnError) {
    var question = RangeQuestion()
    question.offset = range.lowerBound
    question.byteCount = range.count
    question.rangeGuard = .digest
    question.expectedByteCount = total
    question.retryAfterCap = min(configuration.retryAfterCap, .seconds(60))
    answer = JudgedAnswer(to: question)
    complaint = address.isSigned ? StoreComplaint(isSigned: configuration.s3.isSigning) : nil
    wantedByteCount = range.count
    bytes.reserveCapacity(range.count)
    let form = WebRequest.Form(
      address: address, tag: 1, range: "\(range.lowerBound)-\(range.upperBound - 1)",
      lines: configuration.headers(address.origin))
    request = try WebRequest(form, owner: self, configuration: configuration)
  }

  func takeHeader(_ line: [UInt8]) -> Bool {
    if case .refused = answer.read(line) { return false }
    return true
  }

  /// Keeps to a limit, and goes on reading if it allows that by now.
  func follow(_ bytesPerSecond: Int?) {
    pacer.bytesPerSecond = bytesPerSecond
    guard isThrottled, pacer.wait(at: .now) == .zero else { return }
    isThrottled = false
    request?.pause(false)
  }

  func takeBody(_ piece: RawSpan) -> BodyStep {
    guard answer.failure == nil else { return .refused }
    guard pacer.take(piece.byteCount, at: .now) else {
      isThrottled = true
      return .later
    }
    answer.hear(piece.byteCount)
    guard case .acceptAtOffset = answer.verdict else {
      complaint?.take(piece)
      return answer.heardByteCount < 64 << 10 ? .taken : .refused
    }
    guard bytes.count + piece.byteCount <= wantedByteCount else {
      answer.refuse(TarnError(.integrity, "more than the \(wantedByteCount) bytes that were promised"))
      return .refused
    }
    unsafe piece.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    return .taken
  }

  func networkError(_ result: CURLcode) -> TarnError {
    request?.networkError(result) ?? TarnError(.io, "a transfer without a request")
  }
}
