// Encoders that are services: what they answer well, badly, late or not at all.

import Base
import Fetch
import Foundation
import Testing
import TestSupport

@Suite struct ServiceEncoderTests {
  private func encoder(
    _ server: HostileServer, model: String? = nil, key: String? = nil, path: String = "/v1/embeddings"
  ) throws -> ServiceEncoder {
    var rules = EncoderRules()
    rules.firstPause = .milliseconds(1)
    rules.timeout = .seconds(30)
    var configuration = FetchConfiguration()
    configuration.proxy = ""
    return try ServiceEncoder(
      "http://127.0.0.1:\(server.port)\(path)", model: model, key: key, rules: rules, configuration: configuration)
  }

  private func failure(_ answer: ScriptedAnswer, key: String? = nil) throws -> (error: TarnError, requestCount: Int) {
    let server = try HostileServer { _ in answer }
    let results = try encoder(server, key: key).encode([.text("x")], cancellation: Cancellation())
    let error = try #require(throws: TarnError.self) { try results[0].get() }
    return (error, server.requests.count)
  }

  private static func body(_ entries: [(Int, [Float])]) -> [UInt8] {
    let data = entries.map {
      JSONValue.object(["index": .count($0.0), "embedding": .array($0.1.map { .number(Double($0)) })])
    }
    return Array(JSONValue.object(["object": .string("list"), "data": .array(data)]).text.utf8)
  }

  @Test func asksAsOpenAIWantsAndTakesVectorsByTheirIndex() throws {
    let server = try HostileServer { _ in .answer(200, body: Self.body([(1, [0, 1]), (0, [1, 0])])) }
    let found = try encoder(server, model: "clip", key: "sesame")
      .encode([.text("a \"b\""), .text("ü")], cancellation: Cancellation()).map { try $0.get() }
    #expect(found == [[1, 0], [0, 1]])
    let request = try #require(server.requests.first)
    #expect(request.method == "POST" && request.target == "/v1/embeddings")
    #expect(request.value("authorization") == "Bearer sesame" && request.value("content-type") == "application/json")
    let asked = try JSONValue(reading: request.body)
    #expect(
      asked
        == .object([
          "input": .array([.string("a \"b\""), .string("ü")]), "model": .string("clip"),
          "encoding_format": .string("float"),
        ]))
  }

  @Test func manyTextsAreAskedInPieces() throws {
    let server = try HostileServer { request in
      let texts = (try? JSONValue(reading: request.body))?["input"]?.elements ?? []
      return .answer(
        200, body: Self.body(texts.enumerated().map { ($0.offset, [Float($0.element.string ?? "") ?? -1]) }))
    }
    let texts = (0..<70).map { EncoderQuery.text("\($0)") }
    let found = try encoder(server).encode(texts, cancellation: Cancellation()).map { try $0.get() }
    #expect(found == (0..<70).map { [Float($0)] })
    #expect(server.requests.count == 3 && server.requests.allSatisfy { $0.value("authorization") == nil })
  }

  /// Some answer at once and think then.
  @Test func r14WhoThinksBehindTheHeadHasAsLongAsItMay() throws {
    let server = try HostileServer { _ in
      ScriptedAnswer.answer(200, body: Self.body([(0, [1, 0])])).pausing(milliseconds: 1_000)
    }
    var (rules, configuration) = (EncoderRules(), quickConfiguration())
    rules.timeout = .seconds(30)
    configuration.watch.stallTimeout = .milliseconds(200)
    let encoder = try ServiceEncoder(
      server.url("/v1/embeddings"), model: nil, key: nil, rules: rules, configuration: configuration)
    let found = try encoder.encode([.text("a")], cancellation: Cancellation()).map { try $0.get() }
    #expect(found == [[1, 0]] && server.requests.count == 1)
  }

  @Test func whoLacksAKeyIsToldWhere() throws {
    let body = Array(#"{"error":{"message":"Incorrect API key provided: sesame."}}"#.utf8)
    let (error, count) = try failure(.answer(401, body: body), key: "sesame")
    #expect(error.code == .refused && count == 1)
    #expect(error.description.contains("TARN_ENCODER_KEY") && error.message.contains("Incorrect API key provided"))
    #expect(!error.description.contains("sesame"), "a key is told")
    #expect(try failure(.answer(403, body: [])).error.hint == "put its key into TARN_ENCODER_KEY")
  }

  @Test(arguments: [408, 425, 429, 500, 502, 503])
  func whatMayPassIsAskedThreeTimes(status: Int) throws {
    let (error, count) = try failure(.answer(status, body: Array("busy".utf8)))
    #expect(error.code == .temporary && count == 3 && error.message.contains("HTTP \(status)"))
  }

  @Test func whatPassesIsAnswered() throws {
    let server = try HostileServer { request in
      request.precedingCount == 0
        ? .answer(429, headers: ["Retry-After: 0"]) : .answer(200, body: Self.body([(0, [1])]))
    }
    #expect(try encoder(server).encode([.text("x")], cancellation: Cancellation())[0].get() == [1])
  }

  @Test func aWaitThatIsLongerThanTheLimitIsNotWaited() throws {
    let (error, count) = try failure(.answer(429, headers: ["Retry-After: 200"]))
    #expect(error.code == .temporary && count == 1)
  }

  @Test(arguments: [
    "", "<html>", "[]", "{}", #"{"data":{}}"#, #"{"data":[]}"#, #"{"data":[{"index":0}]}"#,
    #"{"data":[{"index":1,"embedding":[1]}]}"#, #"{"data":[{"index":-1,"embedding":[1]}]}"#,
    #"{"data":[{"index":"0","embedding":[1]}]}"#, #"{"data":[{"embedding":[1]},{"embedding":[1]}]}"#,
    #"{"data":[{"embedding":"AAAA"}]}"#, #"{"data":[{"embedding":[1,null]}]}"#, #"{"data":[{"embedding":[NaN]}]}"#,
  ])
  func whatIsNoAnswerIsRefused(body: String) throws {
    let (error, count) = try failure(.answer(200, body: Array(body.utf8)))
    #expect(error.code == .refused && count == 1, "\(error)")
    #expect(!error.message.contains("\n"))
  }

  @Test func redirectsAreNotFollowed() throws {
    let (error, count) = try failure(.answer(307, headers: ["Location: http://169.254.169.254/"]), key: "sesame")
    #expect(error.code == .refused && count == 1 && error.message.contains("redirect"))
    #expect(try failure(.answer(404, body: [])).error.hint?.contains("/v1/embeddings") == true)
  }

  @Test func nobodyThereIsTemporary() throws {
    let port = try HostileServer { _ in .answer(200, body: []) }.port
    var configuration = FetchConfiguration()
    configuration.proxy = ""
    var rules = EncoderRules()
    rules.firstPause = .milliseconds(1)
    let encoder = try ServiceEncoder(
      "http://127.0.0.1:\(port)/", model: nil, key: nil, rules: rules, configuration: configuration)
    let error = #expect(throws: TarnError.self) {
      try encoder.encode([.text("x")], cancellation: Cancellation())[0].get()
    }
    #expect(error?.code == .temporary)
  }

  @Test func keysTravelInTheDarkAlone() throws {
    func make(_ url: String, _ key: String?) throws {
      _ = try ServiceEncoder(url, model: nil, key: key, rules: EncoderRules(), configuration: FetchConfiguration())
    }
    for url in [
      "http://example.org/v1/embeddings", "http://10.0.0.5/v1", "http://u:p@127.0.0.1/", "http://", "https://u@x/",
    ] {
      let error = #expect(throws: TarnError.self) { try make(url, "sesame") }
      #expect(error?.code == .usage && error?.description.contains("sesame") == false, "\(url)")
    }
    #expect(throws: TarnError.self) { try make("https://example.org/", "two words") }
    for url in ["https://example.org/v1/embeddings", "http://127.0.0.1:8000/", "http://localhost/", "http://[::1]:1/"] {
      try make(url, "sesame")
    }
    try make("http://example.org/v1/embeddings", nil)
  }

  @Test func picturesAreNotAsked() throws {
    let server = try HostileServer { _ in .answer(200, body: []) }
    let error = #expect(throws: TarnError.self) {
      try encoder(server).encode([.image(path: "/x.jpg")], cancellation: Cancellation())[0].get()
    }
    #expect(error?.code == .usage && server.requests.isEmpty)
  }
}
