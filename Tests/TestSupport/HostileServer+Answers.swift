// The answers that tests script: honest ones, and each way to be dishonest.

internal import Glibc

/// What a server does with one request, step by step.
package struct ScriptedAnswer: Sendable {
  package enum Step: Sendable {
    case send([UInt8])
    /// Says nothing more until the client hangs up.
    case stall
    case close
    /// Closes with a TCP reset.
    case reset
    /// Runs code of the test, as to cancel at this very point.
    case run(@Sendable () -> Void)
  }

  package let steps: [Step]

  package init(_ steps: [Step]) { self.steps = steps }

  /// How a body's length is announced.
  package enum Framing: Sendable {
    /// `Content-Length` with the true length.
    case honest
    /// `Content-Length` with this number.
    case length(Int)
    /// No length: the body ends with the connection.
    case untilClose
    case chunked
    /// Nothing is announced and nothing sent, as to a `HEAD`.
    case none
  }

  /// An answer with a status line, header lines and a body.
  ///
  /// - Parameters:
  ///   - status: The status code.
  ///   - headers: Lines without line endings.
  ///   - body: The bytes sent, whatever the framing says.
  ///   - framing: What is announced of their length.
  ///   - end: What follows the body; by default the connection is kept alive
  ///     if the framing allows it.
  /// - Returns: The answer, ready to send.
  package static func answer(
    _ status: Int, headers: [String] = [], body: [UInt8] = [], framing: Framing = .honest, then end: Step? = nil
  ) -> ScriptedAnswer {
    var lines = ["HTTP/1.1 \(status) Scripted"] + headers
    var last = end
    var payload = body
    switch framing {
    case .honest: if status != 304, status != 204 { lines.append("Content-Length: \(body.count)") }
    case .none: payload = []
    case .length(let count):
      lines.append("Content-Length: \(count)")
      if count != body.count { last = last ?? .close }
    case .untilClose:
      lines.append("Connection: close")
      last = last ?? .close
    case .chunked:
      lines.append("Transfer-Encoding: chunked")
      payload = Array("\(String(body.count, radix: 16))\r\n".utf8) + body + Array("\r\n".utf8)
      // A chunked body that is cut off lacks its last chunk.
      if end == nil { payload += Array("0\r\n\r\n".utf8) }
    }
    let head = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    return ScriptedAnswer([.send(head + payload)] + (last.map { [$0] } ?? []))
  }

  /// The same, but for a pause behind the head.
  package func pausing(milliseconds: UInt32) -> ScriptedAnswer {
    ScriptedAnswer(
      steps.flatMap { step -> [Step] in
        guard case .send(let bytes) = step, let end = bytes.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound else {
          return [step]
        }
        return [.send(Array(bytes[..<end])), .run { usleep(milliseconds * 1_000) }, .send(Array(bytes[end...]))]
      })
  }

  /// What an honest server says: ranges, `If-Range` and `If-None-Match` obeyed.
  package static func file(
    _ bytes: [UInt8], etag: String? = "\"1\"", for request: HostileServer.Request
  ) -> ScriptedAnswer {
    let validator = etag.map { ["ETag: \($0)"] } ?? []
    if let etag, request.value("if-none-match") == etag { return .answer(304, headers: validator) }
    if request.method == "HEAD" {
      // The head of the whole file, and nothing after it.
      return .answer(200, headers: validator + ["Content-Length: \(bytes.count)"], framing: .none)
    }
    guard let start = request.rangeStart, request.value("if-range").map({ $0 == etag }) ?? true else {
      return .answer(200, headers: validator, body: bytes)
    }
    guard start < bytes.count else {
      return .answer(416, headers: ["Content-Range: bytes */\(bytes.count)"])
    }
    let end = min(request.rangeEnd ?? .max, bytes.count - 1)
    return .answer(
      206, headers: validator + ["Content-Range: bytes \(start)-\(end)/\(bytes.count)"],
      body: Array(bytes[start...end]))
  }
}
