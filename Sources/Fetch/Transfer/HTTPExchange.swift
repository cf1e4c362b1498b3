// One request for a shard to one address and its answer: lets no byte through
// before the answer was classified.

internal import Base
internal import CCurl
internal import Foundation

/// An exchange with a server: a request, the verdict on its head, its body.
///
/// Lives on the loop's thread; libcurl calls it back there only.
final class HTTPExchange: WebRequestOwner {
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
  private(set) var answer: JudgedAnswer
  /// Body bytes that went into the part file.
  private(set) var receivedByteCount = 0
  /// Bytes that the accepted body may have; nil before one was accepted.
  private var bodyLimit: Int?
  var isBodyAccepted: Bool { bodyLimit != nil }

  private let part: PartFile
  /// Bytes of an unwanted body that are read so that the connection lives on.
  private var patience = 64 << 10
  /// What an S3 store says is wrong; nil elsewhere.
  private var complaint: StoreComplaint?
  let request: WebRequest

  init(
    to address: WebAddress, order: Order, part: PartFile, tag: UInt, configuration: FetchConfiguration
  ) throws(TarnError) {
    self.address = address
    self.order = order
    answer = JudgedAnswer(to: order.question)
    self.part = part
    complaint = address.isSigned ? StoreComplaint(unsigned: configuration.s3.whyUnsigned) : nil
    var form = WebRequest.Form(address: address, tag: tag)
    let question = order.question
    if question.offset > 0 {
      form.range = "\(question.offset)-"
      if question.rangeGuard == .ifRange, let value = question.partialValidator.ifRange {
        form.lines.append("If-Range: \(value)")
      }
    } else if let line = order.condition?.conditionLine {
      form.lines.append(line)
    }
    form.lines += order.headers
    form.login = configuration.login(for: address)
    request = try WebRequest(form, configuration: configuration)
    unsafe request.owner = self
  }

  // MARK: The answer

  func takeHeader(_ line: [UInt8]) -> HeadStep {
    switch answer.read(line) {
    case .judged(.acceptFromStart(let promise)): accept(promise, startingOver: true)
    case .judged(.acceptAtOffset(let promise)): accept(promise, startingOver: false)
    case .judged: break
    case .more: return .more
    case .refused: return .refused
    }
    return .answered
  }

  func takeBody(_ bytes: RawSpan) -> Bool {
    guard answer.failure == nil else { return false }
    guard let bodyLimit else { return takeUnwanted(bytes) }
    do throws(TarnError) {
      guard receivedByteCount + bytes.byteCount <= bodyLimit else {
        throw TarnError(.integrity, "more than the \(bodyLimit) bytes that were promised")
      }
      receivedByteCount += bytes.byteCount
      try part.receive(bytes)
      return true
    } catch {
      answer.refuse(error)
      return false
    }
  }

  private func accept(_ promise: BodyPromise, startingOver: Bool) {
    bodyLimit = promise.bodyByteCount ?? .max
    part.accept(promise, from: order.source, startingOver: startingOver)
  }

  private func takeUnwanted(_ bytes: RawSpan) -> Bool {
    guard answer.verdict != nil else { return false }
    complaint?.take(bytes)
    patience -= bytes.byteCount
    return patience >= 0
  }

  /// The error of an answer without a shard, with what a store said in it.
  func explaining(_ error: TarnError) -> TarnError { complaint?.explaining(error) ?? error }
}
