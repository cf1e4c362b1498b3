// What an HTTP answer is worth, decided from its head before a byte of its
// body reaches a file. Pure: no socket, no file, no clock of its own.
//
// libcurl accepts most wrong range answers as success, so the rules are here:
// R1 no encoded bodies · R3 a 200 with the ETag we hold is asked again bare ·
// R4 a 206 counts only with the exact Content-Range · R5 a 200 starts over ·
// R6 416 · R7 a wrong size is refused before the body · R12 who is to blame ·
// R13 Retry-After is clamped · R20 a refused range is not a refused file.

package import Base
package import Foundation

/// What was asked, as far as the answer must fit it.
package struct RangeQuestion: Sendable, Equatable {
  /// What keeps the bytes of two revisions out of one file.
  package enum Guard: Sendable, Equatable {
    /// `If-Range` was sent: a 206 means that nothing changed.
    case ifRange
    /// A bare range: the answer must carry the validator that is held.
    case validatorInAnswer
    /// A bare range: the whole file's SHA-256 is known and will tell.
    case digest
  }

  /// Bytes held; the range asked for is `offset-`, or none at 0.
  package var offset = 0
  /// How many bytes were asked for from there; nil for all the rest.
  ///
  /// Such an answer is taken only if it has exactly these bytes; a whole file is
  /// not one.
  package var byteCount: Int?
  package var rangeGuard = Guard.ifRange
  /// Bytes of the whole shard as the catalog knows them.
  package var expectedByteCount: Int?
  /// Bytes of the whole as the answer said that brought the partial.
  package var partialTotal: Int?
  package var partialValidator = EntityValidator()
  /// Whether `If-None-Match` or `If-Modified-Since` was sent.
  package var isConditional = false
  package var retryAfterCap: Duration = .seconds(300)

  package init() {}
}

/// What an accepted body will be.
package struct BodyPromise: Sendable, Equatable {
  /// Bytes of this body; nil when only its end will tell.
  package var bodyByteCount: Int?
  /// Bytes of the whole shard, as far as this answer says.
  package var totalByteCount: Int?
  package var validator: EntityValidator
}

/// What to do with an answer.
package enum Verdict: Sendable, Equatable {
  /// The whole shard follows: drop what is held and write from byte 0.
  case acceptFromStart(BodyPromise)
  /// The rest follows, from exactly the byte that was asked for.
  case acceptAtOffset(BodyPromise)
  /// Every byte is held already; verify and finish.
  case alreadyComplete
  /// The revision held by the caller is current.
  case unchanged
  /// What is held cannot be continued: ask this mirror for the whole.
  case restart(String)
  /// Ask again with a range and without `If-Range` (R3).
  case retryBareRange
  /// Ask once for the whole: it may be the range that is refused (R20).
  case retryWhole(String)
  case redirect(to: String)
  /// This mirror will not do; the code says why.
  case nextMirror(TarnError.Code, String)
  /// Ask this mirror again, after this long if it said so.
  case retryLater(after: Duration?, String)
}

/// The rules of HTTP that tarn accepts bytes by.
package enum ResponseClassifier {
  /// R20: statuses by which some servers refuse a range and not the file.
  static let rangeRefusals: Set<Int> = [400, 403, 404, 405, 406, 412, 500, 501]

  /// Decides about an answer.
  ///
  /// - Parameters:
  ///   - head: The final head; never a 1xx.
  ///   - question: What was asked.
  ///   - now: The time, for a `Retry-After` that is a date.
  /// - Returns: What to do; `.restart` and `.retryBareRange` only if a range
  ///   was asked for, so that neither can repeat for ever.
  package static func classify(_ head: ResponseHead, to question: RangeQuestion, at now: Date) -> Verdict {
    switch head.statusCode {
    case let status where rangeRefusals.contains(status):
      if question.offset > 0, question.byteCount == nil {
        return .retryWhole("the server answered \(head.statusCode) to a range")
      }
      return refusal(head, question, now)
    case 200: return whole(head, question)
    case 206: return partial(head, question)
    case 304:
      guard question.isConditional else { return .nextMirror(.integrity, "answered 304 to an unconditional request") }
      return .unchanged
    case _ where head.isRedirect:
      guard let location = head.value("location"), !location.isEmpty else {
        return .nextMirror(.integrity, "a redirect (\(head.statusCode)) without one Location")
      }
      return .redirect(to: location)
    case 416: return unsatisfiable(head, question)
    default: return refusal(head, question, now)
    }
  }

  /// What an answer is worth that holds nothing.
  private static func refusal(_ head: ResponseHead, _ question: RangeQuestion, _ now: Date) -> Verdict {
    switch head.statusCode {
    case 404, 410: return .nextMirror(.absent, "it is not there (\(head.statusCode))")
    case 408, 425, 429, 500...599:
      let wait = retryAfter(head, at: now, cap: question.retryAfterCap)
      return .retryLater(after: wait, "the server answered \(head.statusCode)")
    case 401, 403, 407, 451: return .nextMirror(.refused, "access refused (\(head.statusCode))")
    case 400..<500: return .nextMirror(.refused, "the server refuses the request (\(head.statusCode))")
    default: return .nextMirror(.integrity, "an answer of status \(head.statusCode) holds no shard")
    }
  }

  private static func whole(_ head: ResponseHead, _ question: RangeQuestion) -> Verdict {
    guard question.byteCount == nil else { return .nextMirror(.refused, "the server ignores ranges") }
    if let fault = encodingFault(head) { return .nextMirror(.integrity, fault) }
    // A range field on a 200 leaves open which bytes follow.
    guard head.values("content-range").isEmpty else {
      return restartOrFault(question, "a 200 with a Content-Range")
    }
    // R3: the server holds the very revision and still ignored If-Range.
    if question.offset > 0, question.rangeGuard == .ifRange, let held = question.partialValidator.strongETag,
      held == head.value("etag"), question.partialValidator.ifRange == held
    {
      return .retryBareRange
    }
    let length: Int?
    switch head.bodyLength {
    case .contradictory:
      return .nextMirror(.integrity, "a Content-Length that is no single number, or none that a file has")
    case .unknown: length = nil
    case .exactly(let bytes): length = bytes
    }
    if let length, let expected = question.expectedByteCount, length != expected {
      return .nextMirror(.integrity, "\(length) bytes offered where the file has \(expected)")
    }
    // R22: what is held is not given up for a page.
    if question.offset > 0, head.isPage, length == nil || length != question.partialTotal {
      return .nextMirror(.integrity, "a web page instead of the file")
    }
    return .acceptFromStart(
      BodyPromise(bodyByteCount: length, totalByteCount: length, validator: head.validator))
  }

  private static func partial(_ head: ResponseHead, _ question: RangeQuestion) -> Verdict {
    guard question.offset > 0 || question.byteCount != nil else {
      return .nextMirror(.integrity, "a part (206) where the whole was asked for")
    }
    if let fault = encodingFault(head) { return restartOrFault(question, fault) }
    if head.values("content-type").contains(where: { $0.lowercased().hasPrefix("multipart/") }) {
      return restartOrFault(question, "a multipart answer to a single range")
    }
    guard let text = head.value("content-range"), let range = ContentRange(text), let span = range.span else {
      return restartOrFault(question, "a 206 without one valid Content-Range")
    }
    guard span.lowerBound == question.offset else {
      return restartOrFault(question, "a range from byte \(span.lowerBound), not \(question.offset)")
    }
    if let wanted = question.byteCount, span.count != wanted {
      return restartOrFault(question, "a range of \(span.count) bytes where \(wanted) were asked for")
    }
    if let total = range.total {
      if let expected = question.expectedByteCount, total != expected {
        return .nextMirror(.integrity, "a range of \(total) bytes where the file has \(expected)")
      }
      if let held = question.partialTotal, total != held {
        return restartOrFault(question, "the file has \(total) bytes now and had \(held)")
      }
    } else {
      guard let known = question.expectedByteCount ?? question.partialTotal, span.upperBound < known else {
        return restartOrFault(question, "a range of a file of unknown size")
      }
    }
    switch head.bodyLength {
    case .exactly(let length) where length != span.count:
      return restartOrFault(question, "a range of \(span.count) bytes in a body of \(length)")
    case .contradictory:
      return restartOrFault(question, "a Content-Length that is no single number, or none that a file has")
    default: break
    }
    let validator = head.validator
    switch question.partialValidator.agrees(with: validator) {
    // Servers behind one address may have tags of their own; where the digest of
    // the whole is known, it decides.
    case false? where question.rangeGuard == .digest: break
    case false?: return restartOrFault(question, "the file changed since its first bytes came")
    case nil where question.rangeGuard == .validatorInAnswer:
      return restartOrFault(question, "a range that does not say which revision it is of")
    default: break
    }
    return .acceptAtOffset(
      BodyPromise(
        bodyByteCount: span.count, totalByteCount: range.total ?? question.expectedByteCount ?? question.partialTotal,
        validator: validator.etag == nil && validator.lastModified == nil ? question.partialValidator : validator))
  }

  private static func unsatisfiable(_ head: ResponseHead, _ question: RangeQuestion) -> Verdict {
    if let text = head.value("content-range"), let total = ContentRange(text)?.total, total == question.offset,
      question.offset > 0, question.expectedByteCount ?? total == total, question.partialTotal ?? total == total
    {
      return .alreadyComplete
    }
    return restartOrFault(question, "the range is not satisfiable (416)")
  }

  /// Starts over if there is anything to drop; else the mirror is at fault.
  private static func restartOrFault(_ question: RangeQuestion, _ cause: String) -> Verdict {
    question.offset > 0 && question.byteCount == nil ? .restart(cause) : .nextMirror(.integrity, cause)
  }

  /// R1: the body's bytes must be the file's bytes.
  static func encodingFault(_ head: ResponseHead) -> String? {
    head.encoding.map { "a body encoded as '\(printable($0, limit: 20))'" }
  }

  /// R13: seconds or a date, never negative, never above the cap; nil for junk.
  package static func retryAfter(_ head: ResponseHead, at now: Date, cap: Duration) -> Duration? {
    guard let text = head.value("retry-after") else { return nil }
    if let seconds = decimal(text[...]) {
      return seconds > 1_000_000 ? cap : min(cap, .seconds(seconds))
    }
    guard let date = HTTPDate.parse(text) else { return nil }
    return min(cap, .seconds(max(0, date.timeIntervalSince(now))))
  }
}

/// Text from a server as it may be shown: no control bytes, not too long.
func printable(_ text: String, limit: Int) -> String {
  String(
    String.UnicodeScalarView(text.unicodeScalars.prefix(limit).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
}
