// An answer before it is sent, and the headers that every one has.

package import Base
internal import Lake

/// An answer to a request.
package struct ServeAnswer: Sendable, Equatable {
  package var status: Int
  package var contentType: String
  package var body: [UInt8]
  package var headers: [String: String] = [:]
  /// Whether pictures of other hosts may be shown on it.
  package var showsPictures = false

  package init(_ status: Int = 200, _ contentType: String, _ body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  package static let jsonType = "application/json"

  /// A JSON document; what is hidden is escaped.
  package static func json(_ value: JSONValue, status: Int = 200) -> ServeAnswer {
    ServeAnswer(status, jsonType, value.line)
  }

  /// JSON documents, one a line.
  static func lines(_ bytes: [UInt8]) -> ServeAnswer { ServeAnswer(200, "application/x-ndjson", bytes) }

  /// The document that it is; nil of another answer.
  var document: JSONValue? { try? JSONValue(reading: body) }

  /// What an error says.
  var message: String { document?["message"]?.string ?? "it failed" }

  package static func text(_ text: String) -> ServeAnswer {
    ServeAnswer(200, "text/plain; charset=utf-8", Array(text.utf8))
  }

  package static func page(_ text: String, status: Int = 200) -> ServeAnswer {
    ServeAnswer(status, "text/html; charset=utf-8", Array(text.utf8))
  }

  /// The answer that what was posted is to be had at an address of this server.
  static func elsewhere(_ address: String) -> ServeAnswer {
    var answer = text("")
    answer.status = 303
    answer.headers["Location"] = address
    return answer
  }

  /// An error for a program.
  ///
  /// - Parameters:
  ///   - status: HTTP's.
  ///   - message: One line.
  ///   - hint: What to do about it.
  ///   - members: What else the answer says.
  /// - Returns: `{"error": {"status", "message", "hint"}, "message"}`; the second `message` is where clients of
  ///   clip-retrieval look.
  package static func error(
    _ status: Int, _ message: String, hint: String? = nil, with members: [String: JSONValue] = [:]
  ) -> ServeAnswer {
    let error: [String: JSONValue] = [
      "error": .object([
        "status": .count(status), "message": .string(message), "hint": .optional(hint),
      ]), "message": .string(hint.map { "\(message); \($0)" } ?? message),
    ]
    return json(.object(members.merging(error) { $1 }), status: status)
  }

  /// An error of the lake for a program.
  package static func error(_ error: any Error) -> ServeAnswer {
    if let gone = error as? GoneError { return .error(410, gone.message, hint: gone.hint) }
    if let long = error as? LongAnswerError { return long.answer }
    if let known = error as? AnswerError { return known.answer }
    guard let error = error as? TarnError else { return .error(500, "\(error)".printableLine) }
    // Another query may be answered.
    let status = error.isSaidByEncoder ? 422 : status(of: error.code)
    return .error(status, error.message, hint: error.hint)
  }

  /// The refusal of what is more than can be taken now.
  package static func busy(_ what: String) -> ServeAnswer {
    var answer = error(503, "the server is busy: \(what)", hint: "ask again in a moment")
    answer.headers["Retry-After"] = "1"
    return answer
  }

  private static func status(of code: TarnError.Code) -> Int {
    switch code {
    case .usage, .unfit, .badFeatures: 400
    case .notFound, .absent: 404
    case .conflict: 409
    case .refused, .untrusted: 502
    case .temporary, .locked, .inputsMissing, .interrupted: 503
    case .noLake, .schemaNewer, .schemaOlder, .integrity, .tls, .diskFull, .io, .database, .engine, .differs:
      500
    }
  }

  private static let policy = policy(pictures: "'self' data:")
  private static let policyWithPictures = policy(pictures: "'self' data: https: http:")

  private static func policy(pictures: String) -> String {
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src \(pictures); "
      + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
  }

  /// Whether the answer says that nothing went wrong.
  package var isGood: Bool { status < 400 }

  /// The headers of the answer, those that every one has among them.
  ///
  /// No other host is told whence it is asked; this one is, since browsers send the origin `null` with a form of a page
  /// that tells nobody.
  ///
  /// - SeeAlso: https://www.w3.org/TR/CSP3/, https://fetch.spec.whatwg.org/#append-a-request-origin-header
  package var allHeaders: [(name: String, value: String)] {
    let own = headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    return [
      ("Content-Type", contentType), ("Content-Length", String(body.count)),
      ("Content-Security-Policy", showsPictures ? Self.policyWithPictures : Self.policy),
      ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"),
      ("Cross-Origin-Opener-Policy", "same-origin"), ("X-Frame-Options", "DENY"),
    ]
      + [("Cache-Control", "no-store"), ("Cross-Origin-Resource-Policy", "same-origin")].filter { headers[$0.0] == nil }
      + own
  }
}

extension JSONValue {
  /// A line of its own; what is hidden is escaped.
  var line: [UInt8] { escapedBytes + [UInt8(ascii: "\n")] }
}

/// An answer that would be longer than any may be.
struct LongAnswerError: Error {
  let limit: Int

  var answer: ServeAnswer {
    .error(
      413, "the answer is longer than \(ByteSize.text(limit))", hint: "ask for less, or run the verb itself")
  }
}

/// An error that was made an answer of already.
struct AnswerError: Error {
  let answer: ServeAnswer
}

/// What was there and is withdrawn for good.
struct GoneError: Error, CustomStringConvertible {
  let message: String
  let hint: String?

  init(_ message: String, hint: String?) { (self.message, self.hint) = (message, hint) }

  var description: String { hint.map { "\(message); \($0)" } ?? message }
}
