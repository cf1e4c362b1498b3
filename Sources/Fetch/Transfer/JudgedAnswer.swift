// The answer to a question for a shard's bytes while it comes in: its head is
// read line by line and judged once, before any byte of its body is taken; a body
// that is not the shard's may say what is wrong.
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
  /// Bytes of an unwanted body that are read so that the connection lives on.
  private var patience = 64 << 10
  /// What an S3 store says is wrong; nil elsewhere.
  private var complaint: StoreComplaint?

  init(to question: RangeQuestion, from address: WebAddress, _ configuration: FetchConfiguration) {
    self.question = question
    complaint = StoreComplaint(from: address, configuration)
  }

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

  /// Takes a piece of a body that is not the shard's; false breaks the exchange off.
  mutating func takeUnwanted(_ bytes: RawSpan) -> Bool {
    guard verdict != nil else { return false }
    complaint?.take(bytes)
    patience -= bytes.byteCount
    return patience >= 0
  }

  /// Breaks the exchange off, for what is wrong with its body.
  mutating func refuse(_ error: TarnError) { failure = error }

  /// The error of an answer without a shard, with what a store said in it.
  func explaining(_ error: TarnError) -> TarnError { complaint?.explaining(error) ?? error }
}
