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
    var condition: EntityValidator?
    /// Who is asked, in the resume point's terms.
    var source: ContentDigest
  }

  let course: RedirectCourse
  var address: WebAddress { course.address }
  let order: Order
  private(set) var answer: JudgedAnswer
  /// Body bytes that went into the part file.
  private(set) var receivedByteCount = 0
  /// Bytes that the accepted body may have; nil before one was accepted.
  private var bodyLimit: Int?
  var isBodyAccepted: Bool { bodyLimit != nil }

  private let part: PartFile
  let request: WebRequest

  init(
    on course: RedirectCourse, order: Order, part: PartFile, tag: UInt, configuration: FetchConfiguration
  ) throws(TarnError) {
    self.course = course
    self.order = order
    answer = JudgedAnswer(to: order.question, from: course.address, configuration)
    self.part = part
    var form = configuration.form(to: course.address, tag: tag)
    let question = order.question
    if question.offset > 0 {
      form.range = "\(question.offset)-"
      if question.rangeGuard == .ifRange, let value = question.partialValidator.ifRange {
        form.lines.append("If-Range: \(value)")
      }
    } else if let line = order.condition?.conditionLine {
      form.lines.append(line)
    }
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
    guard let bodyLimit else { return answer.takeUnwanted(bytes) }
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
}
