// Some bytes of a file on a server, into memory: one request at a time, every
// answer classified like a transfer's. For what is checked by its own digest. A
// server that ignores ranges loses to the next (R19).

package import Base
internal import CCurl
internal import Foundation

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
      let reply = try Reply { () throws(TarnError) in try ask(address, range, total) }
      switch reply {
      case .answer(let bytes): return bytes
      case .later(let asked, let error):
        let step = walk.step(after: .temporary(after: asked, error), heldByteCount: 0, using: &jitter)
        guard case .again(let wait) = step else { throw error }
        try waitOut(until: .now + wait, by: { .now }, isCancelled: isCancelled)
      }
    }
  }

  private func readFile(_ path: String, _ range: Range<Int>, _ total: Int) throws(TarnError) -> [UInt8] {
    do throws(TarnError) {
      return try TarnError.storing {
        let file = try InputFile(path: path)
        guard file.byteCount == total else {
          throw TarnError(.integrity, "\(file.byteCount) bytes where the file has \(total)")
        }
        var bytes = [UInt8](repeating: 0, count: range.count)
        try file.read(into: &bytes, at: range.lowerBound, count: range.count)
        return bytes
      }
    } catch {
      throw error.code == .inputsMissing ? TarnError(.absent, "no such file") : error
    }
  }

  /// One question and its answer, redirects included.
  private func ask(_ start: WebAddress, _ range: Range<Int>, _ total: Int) throws(TarnError) -> Reply<[UInt8]> {
    var course = RedirectCourse(from: start)
    while true {
      let address = course.address
      let exchange = try RangeExchange(to: address, range, total, configuration)
      let end = try multi.perform(
        exchange, bytesPerSecond: { configuration.bandwidthNow().limit(at: Date()) }, isCancelled: isCancelled)
      if let failure = exchange.answer.failure { throw failure }
      switch exchange.answer.verdict {
      case .acceptAtOffset:
        guard exchange.bytes.count == range.count else {
          throw end.isOK
            ? TarnError(.temporary, "\(exchange.bytes.count) of \(range.count) bytes")
            : exchange.request.networkError(end)
        }
        return .answer(exchange.bytes)
      case .redirect(let location): try course.follow(location, from: exchange.request.peer, configuration)
      case .nextMirror(let code, let cause):
        let wayIn = configuration.wayIn(
          to: address, after: exchange.answer.statusCode, isWithheld: exchange.request.isLoginWithheld)
        throw exchange.answer.explaining(TarnError(code, cause, hint: wayIn))
      case .retryLater(let wait, let cause):
        return .later(wait, TarnError(.temporary, cause))
      case .acceptFromStart, .alreadyComplete, .unchanged, .restart, .retryBareRange, .retryWhole:
        throw TarnError(.integrity, "an answer that is no part of the shard")
      case nil: throw exchange.request.networkError(end)
      }
    }
  }
}

/// A question for a range and its answer in memory.
private final class RangeExchange: WebRequestOwner {
  private let wantedByteCount: Int
  private(set) var answer: JudgedAnswer
  private(set) var bytes: [UInt8] = []
  let request: WebRequest

  init(
    to address: WebAddress, _ range: Range<Int>, _ total: Int, _ configuration: FetchConfiguration
  ) throws(TarnError) {
    var question = RangeQuestion()
    question.offset = range.lowerBound
    question.byteCount = range.count
    question.rangeGuard = .digest
    question.expectedByteCount = total
    question.retryAfterCap = min(configuration.retryAfterCap, .seconds(60))
    answer = JudgedAnswer(to: question, from: address, configuration)
    wantedByteCount = range.count
    bytes.reserveCapacity(range.count)
    var form = configuration.form(to: address)
    form.range = "\(range.lowerBound)-\(range.upperBound - 1)"
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
    guard case .acceptAtOffset = answer.verdict else { return answer.takeUnwanted(piece) }
    guard bytes.count + piece.byteCount <= wantedByteCount else {
      answer.refuse(TarnError(.integrity, "more than the \(wantedByteCount) bytes that were promised"))
      return false
    }
    unsafe piece.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    return true
  }
}
