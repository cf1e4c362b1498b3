// The answer to a question for a shard's bytes while it comes in: its head is
// read line by line and judged once, before any byte of its body is taken.
//
// Invariant: after a failure nothing more is taken, or a file would have a hole.

internal import Base
internal import Foundation

/// What an exchange knows of the answer to its question.
struct JudgedAnswer {
  /// What a header line made of the answer.
  enum Step {
    /// Not judged yet, or judged before: trailers change nothing.
    case more
    case judged(Verdict)
    /// The exchange has to be broken off.
    case refused
  }

  let question: RangeQuestion
  private(set) var statusCode: Int?
  /// The decision on the head; nil until it is whole.
  private(set) var verdict: Verdict?
  /// Whether it calls itself a web page (R22).
  private(set) var isPage = false
  /// Whether its body was taken for the shard's.
  var hasBody: Bool {
    switch verdict {
    case .acceptFromStart, .acceptAtOffset: true
    default: false
    }
  }
  /// Why the exchange was broken off from this side.
  private(set) var failure: TarnError?
  private var reader = ResponseHeadReader()

  init(to question: RangeQuestion) { self.question = question }

  /// Takes a header line.
  mutating func read(_ line: [UInt8]) -> Step {
    guard failure == nil else { return .refused }
    guard verdict == nil else { return .more }
    switch reader.read(line) {
    case .more: return .more
    case .malformed(let cause):
      failure = TarnError(.integrity, cause)
      return .refused
    case .head(let head):
      statusCode = head.statusCode
      isPage = head.isPage
      let verdict = ResponseClassifier.classify(head, to: question, at: Date())
      self.verdict = verdict
      return .judged(verdict)
    }
  }

  /// Breaks the exchange off, for what is wrong with its body.
  mutating func refuse(_ error: TarnError) { failure = error }
}
