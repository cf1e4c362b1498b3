// An encoder that is a service, asked as OpenAI's /v1/embeddings is.
//
// The address is the user's own and may lie anywhere; what it answers leads nowhere else,
// as redirects are not followed. The key goes to that address alone.

package import Base
internal import CCurl
internal import Foundation

/// A service that encodes texts.
package struct ServiceEncoder: FeatureEncoder {
  /// How often a request that fails for now is asked in all.
  private static let attempts = 3
  /// The most bytes of an answer.
  private static let mostAnswerByteCount = 64 << 20

  private let address: WebAddress
  private let model: String?
  private let key: String?
  private let rules: EncoderRules
  private let configuration: FetchConfiguration

  /// Prepares to ask a service.
  ///
  /// - Parameters:
  ///   - url: Its whole address.
  ///   - model: The model that is asked for; nil for none.
  ///   - key: What authorises requests; nil for nothing.
  ///   - rules: How it is held to its word.
  ///   - configuration: How to ask.
  /// - Throws: ``TarnError`` `.usage` for an address that is none, or that a key must not be
  ///   sent to.
  package init(
    _ url: String, model: String?, key: String?, rules: EncoderRules, configuration: FetchConfiguration
  ) throws(TarnError) {
    guard !AddressText(url).hasUserInfo else {
      throw TarnError(
        .usage, "the encoder's address has a name or password in it, which everybody on this machine can read",
        hint: "put the key into \(EncoderName.keyVariable)")
    }
    address = try configuration.address(FetchMirror(id: 0, url: url))
    if let key, !key.isEmpty {
      guard key.isVisibleASCII else {
        throw TarnError(.usage, "\(EncoderName.keyVariable) holds a character that no key has")
      }
      guard address.scheme == .https || configuration.addressScope(address.host) == .machine else {
        throw TarnError(
          .usage, "a key would travel over http to \(address.origin.printable), where it can be read on the way",
          hint: "use https, or unset \(EncoderName.keyVariable)")
      }
      self.key = key
    } else {
      self.key = nil
    }
    self.model = model
    self.rules = rules
    var configuration = configuration
    configuration.watch.allow(rules.timeout)
    self.configuration = configuration
  }

  package func close(atOnce: Bool) {}

  package func encode(
    _ queries: [EncoderQuery], cancellation: Cancellation
  ) throws(TarnError) -> [Result<[Float], TarnError>] {
    var results: [Result<[Float], TarnError>] = []
    for first in stride(from: 0, to: queries.count, by: rules.mostInFlight) {
      let piece = queries[first..<min(first + rules.mostInFlight, queries.count)]
      var texts: [String] = []
      for query in piece { if case .text(let text) = query { texts.append(text) } }
      guard texts.count == piece.count else {
        let error = TarnError(
          .usage, "a service like \(address.redacted) encodes texts alone",
          hint: "use an encoder that is a command for pictures")
        results += piece.map { _ in .failure(error) }
        continue
      }
      do throws(TarnError) {
        results += try encode(texts, cancellation)
      } catch {
        guard error.code != .interrupted else { throw error }
        results += piece.map { _ in .failure(error.about("the encoder \(address.redacted)")) }
      }
    }
    return results
  }

  private func encode(
    _ texts: [String], _ cancellation: Cancellation
  ) throws(TarnError) -> [Result<[Float], TarnError>] {
    var members: [String: JSONValue] = [
      "input": .array(texts.map { .string($0) }), "encoding_format": .string("float"),
    ]
    members["model"] = model.map { .string($0) }
    let body = Array(JSONValue.object(members).text.utf8)
    let multi = try MultiHandle(connectionCount: 1)
    let deadline = ContinuousClock.now + rules.timeout
    var pause = rules.firstPause
    var attempt = 0
    while true {
      attempt += 1
      let reply = try Reply { () throws(TarnError) in
        try judge(ask(body, multi, until: deadline, cancellation), count: texts.count)
      }
      switch reply {
      case .answer(let vectors): return vectors
      case .later(let asked, let error):
        let wait = max(asked ?? .zero, pause)
        guard attempt < Self.attempts, .now + wait < deadline else { throw error }
        try cancellation.sleep(for: wait)
        pause *= 2
      }
    }
  }

  private func ask(
    _ body: [UInt8], _ multi: MultiHandle, until deadline: ContinuousClock.Instant, _ cancellation: Cancellation
  ) throws(TarnError) -> StoreAnswer {
    var form = WebRequest.Form(address: address, tag: 1)
    form.method = "POST"
    form.body = RequestBody(body)
    form.lines = ["Content-Type: application/json", "Accept: application/json"]
    if let key { form.lines.append("Authorization: Bearer \(key)") }
    form.wholeTimeout = max(.milliseconds(1), deadline - .now)
    let exchange = try PlainExchange(form, atMost: Self.mostAnswerByteCount, configuration)
    let end = try multi.perform(exchange, isCancelled: { cancellation.isCancelled })
    return try exchange.answer(end)
  }

  /// What an answer means.
  private func judge(
    _ answer: StoreAnswer, count: Int
  ) throws(TarnError) -> Reply<[Result<[Float], TarnError>]> {
    let status = answer.head.statusCode
    let text = "HTTP \(status)" + (Self.message(answer.body, without: key).map { ", saying '\($0)'" } ?? "")
    switch status {
    case 200: return .answer(try Self.vectors(of: answer.body, count: count))
    case 401, 403:
      throw TarnError(
        .refused, text,
        hint: key == nil
          ? "put its key into \(EncoderName.keyVariable)" : "it does not take the key in \(EncoderName.keyVariable)")
    case 408, 425, 429, 500...599:
      let wait = ResponseClassifier.retryAfter(answer.head, at: Date(), cap: configuration.retryAfterCap)
      return .later(wait, TarnError(.temporary, text, hint: "ask again later"))
    case 300..<400:
      throw TarnError(.refused, "HTTP \(status), a redirect", hint: "give --encoder the address it leads to")
    case 404:
      throw TarnError(.refused, text, hint: "the address is that of the whole path, as in https://HOST/v1/embeddings")
    default: throw TarnError(.refused, text)
    }
  }

  /// What a service says is wrong, as OpenAI and its like put it.
  ///
  /// - Parameters:
  ///   - body: Of its answer.
  ///   - key: What is not said: services quote keys that they do not take (S4).
  /// - Returns: Its words, on one line; nil where there are none.
  static func message(_ body: [UInt8], without key: String? = nil) -> String? {
    guard body.count <= 1 << 20, let document = try? JSONValue(reading: body) else { return nil }
    let words = document["error"]?["message"] ?? document["error"] ?? document["message"] ?? document["detail"]
    return words?.string.flatMap { words in
      // Before it is cut: a part of a key is one, too.
      let said = key.map { words.replacing($0, with: "…") } ?? words
      return said.isEmpty ? nil : said.printable(atMost: 160)
    }
  }

  /// The vectors of an answer, in the order of the texts.
  ///
  /// - Throws: ``TarnError`` `.refused` for what is no such answer.
  static func vectors(of body: [UInt8], count: Int) throws(TarnError) -> [Result<[Float], TarnError>] {
    func malformed(_ cause: String) -> TarnError {
      TarnError(
        .refused, "it answers otherwise than /v1/embeddings does: \(cause)",
        hint: "see what it answers, with curl")
    }
    guard let document = try? JSONValue(reading: body) else { throw malformed("no JSON") }
    guard case .array(let data)? = document["data"] else { throw malformed("no 'data'") }
    guard data.count == count else { throw malformed("\(data.count) vectors for \(count.counted("text"))") }
    var results = [Result<[Float], TarnError>?](repeating: nil, count: count)
    for (place, entry) in data.enumerated() {
      let index = entry["index"].map { $0.integer ?? -1 } ?? Int64(place)
      guard (0..<Int64(count)).contains(index), results[Int(index)] == nil else {
        throw malformed("an 'index' that is none of the texts', or there twice")
      }
      guard case .array(let elements)? = entry["embedding"] else { throw malformed("an entry without 'embedding'") }
      switch EncoderLine.vector(elements) {
      case .vector(let vector): results[Int(index)] = .success(vector)
      case .failure(let words): results[Int(index)] = .failure(TarnError(.refused, "it gave \(words)"))
      }
    }
    return results.compactMap(\.self)
  }
}
