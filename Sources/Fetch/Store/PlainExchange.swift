// One request whose answer goes into memory, whole: those of an object store, and
// small files of a web site.

internal import Base
internal import CCurl
internal import Foundation

/// A request, its answer and its end.
final class PlainExchange: WebRequestOwner {
  private let mostByteCount: Int
  private var reader = ResponseHeadReader()
  private var head: ResponseHead?
  private var body: [UInt8] = []
  /// Why it was broken off from this side.
  private var failure: TarnError?
  let request: WebRequest
  private let sent: RequestBody?

  /// Prepares an exchange.
  ///
  /// - Parameters:
  ///   - form: What is asked.
  ///   - mostByteCount: Bytes of an answer's body at most.
  ///   - configuration: How to ask.
  /// - Throws: ``TarnError``.
  init(_ form: WebRequest.Form, atMost mostByteCount: Int, _ configuration: FetchConfiguration) throws(TarnError) {
    self.mostByteCount = mostByteCount
    sent = form.body
    request = try WebRequest(form, configuration: configuration)
    unsafe request.owner = self
  }

  func takeHeader(_ line: [UInt8]) -> HeadStep {
    guard failure == nil else { return .refused }
    guard head == nil else { return .more }
    switch reader.read(line) {
    case .more: return .more
    case .malformed(let cause):
      failure = TarnError(.integrity, cause)
      return .refused
    case .head(let head):
      self.head = head
      return .answered
    }
  }

  func takeBody(_ bytes: RawSpan) -> Bool {
    guard failure == nil else { return false }
    guard body.count + bytes.byteCount <= mostByteCount else {
      failure = TarnError(.integrity, "more than the \(ByteSize.text(mostByteCount)) that such an answer may have")
      return false
    }
    unsafe bytes.withUnsafeBytes { unsafe body.append(contentsOf: $0) }
    return true
  }

  /// The answer, once the exchange has ended.
  ///
  /// - Throws: ``TarnError`` when there is none that is whole.
  func answer(_ end: RequestEnd) throws(TarnError) -> StoreAnswer {
    if let failure = failure ?? sent?.failure { throw failure }
    // A store that refuses early may close before it has read everything.
    if let head, end.isOK || head.statusCode >= 300 { return StoreAnswer(head: head, body: body) }
    throw request.networkError(end)
  }
}
