// Some bytes of a file on a server, into memory: one request at a time, every
// answer classified like a transfer's. For what is checked by its own digest. A
// server that ignores ranges loses to the next (R19).

package import Base
internal import CCurl
internal import Foundation
internal import Glibc

/// Reads byte ranges of files from mirrors.
///
/// Blocks the thread that calls it; it lives on one.
@safe package final class RangeReader {
  private let configuration: FetchConfiguration
  private let isCancelled: () -> Bool
  private let multi: MultiHandle
  private var jitter: SplitMix64

  /// Prepares a reader for the calling thread.
  ///
  /// - Parameters:
  ///   - configuration: How to ask.
  ///   - isCancelled: Asked several times a second; true ends the work.
  /// - Throws: ``TarnError`` `.io` if libcurl cannot be used.
  package init(configuration: FetchConfiguration, isCancelled: @escaping () -> Bool) throws(TarnError) {
    multi = try MultiHandle(connectionCount: 2)
    self.configuration = configuration
    self.isCancelled = isCancelled
    jitter = configuration.jitter()
  }

  /// Reads a range from one mirror, asking again while its troubles may pass.
  ///
  /// - Parameters:
  ///   - range: Bytes of the file, not empty.
  ///   - total: Bytes of the whole file; an answer that says otherwise is refused.
  ///   - mirror: Where to ask.
  /// - Returns: Exactly those bytes, as the mirror has them.
  /// - Throws: ``TarnError`` of the last attempt.
  package func read(_ range: Range<Int>, of total: Int, from mirror: FetchMirror) throws(TarnError) -> [UInt8] {
    let address = try configuration.address(mirror)
    if address.scheme == .file { return try readFile(address.filePath, range, total) }
    var walk = MirrorWalk(mirrorCount: 1, configuration: configuration)
    while true {
      walk.begin()
      let (asked, error): (Duration?, TarnError)
      do throws(TarnError) {
        switch try ask(address, range, total) {
        case .bytes(let bytes): return bytes
        case .later(let wait, let cause): (asked, error) = (wait, cause)
        }
      } catch let cause {
        guard cause.code == .temporary else { throw cause }
        (asked, error) = (nil, cause)
      }
      let step = walk.step(after: .temporary(after: asked, error), heldByteCount: 0, using: &jitter)
      guard case .again(let wait) = step else { throw error }
      try waitOut(until: .now + wait, by: { .now }, isCancelled: isCancelled)
    }
  }

  private func checkCancellation() throws(TarnError) {
    if isCancelled() { throw TarnError(.interrupted, "stopped") }
  }

  private func readFile(_ path: String, _ range: Range<Int>, _ total: Int) throws(TarnError) -> [UInt8] {
    let (descriptor, size): (Int32, Int)
    do throws(TarnError) {
      (descriptor, size) = try Disk.openInput(path)
    } catch {
      throw error.code == .inputsMissing ? TarnError(.absent, "no such file") : error
    }
    defer { close(descriptor) }
    guard size == total else { throw TarnError(.integrity, "\(size) bytes where the file has \(total)") }
    var bytes = [UInt8](repeating: 0, count: range.count)
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pread(
          descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, off_t(range.lowerBound + done))
      }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", path) }
      guard count > 0 else { throw TarnError(.integrity, "\(path) ends early") }
      done += count
    }
    return bytes
  }

  /// What came of a question.
  private enum Reply {
    case bytes([UInt8])
    /// Not now: the server wants to be left alone for so long.
    case later(Duration?, TarnError)
  }

  /// One question and its answer, redirects included.
  private func ask(_ address: WebAddress, _ range: Range<Int>, _ total: Int) throws(TarnError) -> Reply {
    var address = address
    for _ in 0...5 {
      let exchange = try RangeExchange(to: address, range, total, configuration)
      let end = try perform(exchange)
      if let failure = exchange.answer.failure { throw failure }
      switch exchange.answer.verdict {
      case .acceptAtOffset:
        guard exchange.bytes.count == range.count else {
          throw end.isOK
            ? TarnError(.temporary, "\(exchange.bytes.count) of \(range.count) bytes")
            : exchange.request.networkError(end)
        }
        return .bytes(exchange.bytes)
      case .redirect(let location):
        address = try configuration.redirect(to: location, from: address, at: exchange.request.peer)
      case .nextMirror(let code, let cause):
        let wayIn = configuration.wayIn(to: address, after: exchange.answer.statusCode)
        let error = TarnError(code, cause, hint: wayIn)
        throw exchange.complaint?.explaining(error) ?? error
      case .retryLater(let wait, let cause):
        return .later(wait, TarnError(.temporary, cause))
      case .acceptFromStart, .alreadyComplete, .unchanged, .restart, .retryBareRange, .retryWhole:
        throw TarnError(.integrity, "an answer that is no part of the shard")
      case nil: throw exchange.request.networkError(end)
      }
    }
    throw TarnError(.refused, "more than 5 redirects")
  }

  /// Drives one exchange to its end.
  private func perform(_ exchange: RangeExchange) throws(TarnError) -> RequestEnd {
    try multi.add(exchange.request)
    defer { multi.remove(exchange.request) }
    while true {
      try checkCancellation()
      exchange.request.limit(to: configuration.bandwidthNow().limit(at: Date()))
      if let end = try multi.turn().first?.end { return end }
      try multi.wait(atMost: .milliseconds(100))
    }
  }
}

/// A question for a range and its answer in memory.
private final class RangeExchange: WebRequestOwner {
  private let wantedByteCount: Int
  private(set) var answer: JudgedAnswer
  private(set) var bytes: [UInt8] = []
  let request: WebRequest
  /// Bytes of an unwanted body that are read so that the connection lives on.
  private var patience = 64 << 10
  /// What an S3 store says is wrong; nil elsewhere.
  private(set) var complaint: StoreComplaint?

  package init(
    to address: WebAddress, _ range: Range<Int>, _ total: Int, _ configuration: FetchConfiguration
  ) throws(TarnError) {
    var question = RangeQuestion()
    question.offset = range.lowerBound
    question.byteCount = range.count
    question.rangeGuard = .digest
    question.expectedByteCount = total
    question.retryAfterCap = min(configuration.retryAfterCap, .seconds(60))
    answer = JudgedAnswer(to: question)
    complaint = address.isSigned ? StoreComplaint(unsigned: configuration.s3.whyUnsigned) : nil
    wantedByteCount = range.count
    bytes.reserveCapacity(range.count)
    let form = WebRequest.Form(
      address: address, tag: 1, range: "\(range.lowerBound)-\(range.upperBound - 1)",
      lines: configuration.headers(address.origin), login: configuration.login(for: address))
    request = try WebRequest(form, configuration: configuration)
    unsafe request.owner = self
  }

  func takeHeader(_ line: [UInt8]) -> HeadStep {
    switch answer.read(line) {
    case .more: .more
    case .judged: .answered
    case .refused: .refused
    }
  }

  func takeBody(_ piece: RawSpan) -> Bool {
    guard answer.failure == nil else { return false }
    guard case .acceptAtOffset = answer.verdict else {
      complaint?.take(piece)
      patience -= piece.byteCount
      return patience >= 0
    }
    guard bytes.count + piece.byteCount <= wantedByteCount else {
      answer.refuse(TarnError(.integrity, "more than the \(wantedByteCount) bytes that were promised"))
      return false
    }
    unsafe piece.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    return true
  }
}
