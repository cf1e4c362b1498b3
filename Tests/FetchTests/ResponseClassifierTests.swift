// The rules of prior HTTP accidents, each by its number, without a socket.

import Base
import Fetch
import Foundation
import Testing

private let now = Date(timeIntervalSince1970: 1_700_000_000)

private func question(
  offset: Int = 0, expected: Int? = nil, total: Int? = nil, etag: String? = "\"1\"",
  guardedBy rangeGuard: RangeQuestion.Guard = .ifRange, isConditional: Bool = false
) -> RangeQuestion {
  var question = RangeQuestion()
  question.offset = offset
  question.expectedByteCount = expected
  question.partialTotal = total
  if offset > 0 { question.partialValidator = EntityValidator(etag: etag) }
  question.rangeGuard = rangeGuard
  question.isConditional = isConditional
  question.retryAfterCap = .seconds(300)
  return question
}

private func classify(_ status: Int, _ fields: [(String, String)], _ question: RangeQuestion) -> Verdict {
  ResponseClassifier.classify(ResponseHead(statusCode: status, fields: fields), to: question, at: now)
}

/// The case of a verdict without what it carries.
private func kind(_ verdict: Verdict) -> String {
  switch verdict {
  case .acceptFromStart: "accept from start"
  case .acceptAtOffset: "accept at offset"
  case .alreadyComplete: "already complete"
  case .unchanged: "unchanged"
  case .restart: "restart"
  case .retryBareRange: "bare range"
  case .retryWhole: "whole"
  case .redirect: "redirect"
  case .nextMirror(let code, _): "next mirror: \(code)"
  case .retryLater: "retry later"
  }
}

@Suite struct ResponseClassifierTests {
  @Test(arguments: ["gzip", "br", "GZIP", "identity, gzip"]) func r1RefusesAnEncodedBody(encoding: String) {
    #expect(kind(classify(200, [("Content-Encoding", encoding)], question())) == "next mirror: integrity")
    let fields = [("Content-Encoding", encoding), ("Content-Range", "bytes 100-199/200"), ("ETag", "\"1\"")]
    #expect(kind(classify(206, fields, question(offset: 100))) == "restart")
  }

  @Test func r1ToleratesTheIdentityEncoding() {
    #expect(kind(classify(200, [("Content-Encoding", "identity")], question())) == "accept from start")
  }

  @Test func r2UsesOnlyStrongValidatorsForIfRange() {
    #expect(EntityValidator(etag: "\"a\"").ifRange == "\"a\"")
    #expect(EntityValidator(etag: "W/\"a\"").ifRange == nil)
    #expect(EntityValidator(etag: "junk").ifRange == nil)
    let dated = ResponseHead(
      statusCode: 200,
      fields: [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:50:37 GMT")])
    #expect(dated.validator.ifRange == "Sun, 06 Nov 1994 08:49:37 GMT")
    let young = ResponseHead(
      statusCode: 200,
      fields: [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:50:36 GMT")])
    #expect(young.validator.ifRange == nil)
  }

  @Test(arguments: [
    "\"a\tb\"", "\"a b\"", "\"a\"b\"", "\"a\u{7F}b\"", "\"a\u{FFFD}b\"", "\"", "*", "W/*", "a", "",
    "\"\(String(repeating: "a", count: 5_000))\"",
  ])
  func r2WhatNoTagMayBeIsSentToNobody(etag: String) {
    let validator = EntityValidator(etag: etag)
    #expect(validator.ifRange == nil)
    #expect(validator.conditionLine == nil)
  }

  @Test func r2WhatHeaderLinesCannotHaveIsNotSentBack() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT"
    #expect(EntityValidator(etag: "\"!#~é\"").ifRange == "\"!#~é\"")
    #expect(EntityValidator(etag: "W/\"a\"").conditionLine == "If-None-Match: W/\"a\"")
    #expect(EntityValidator(etag: "\"a\tb\"", lastModified: date).conditionLine == "If-Modified-Since: \(date)")
    for odd in ["S\u{1}n, 06 Nov 1994 08:49:37 GMT", "Sun,\t06 Nov 1994 08:49:37 GMT", "é", ""] {
      let validator = EntityValidator(lastModified: odd, isDateStrong: true)
      #expect(validator.ifRange == nil)
      #expect(validator.conditionLine == nil)
    }
  }

  @Test func r3AsksAgainBareWhenTheSameRevisionComesWhole() {
    let fields = [("ETag", "\"1\""), ("Content-Length", "200")]
    #expect(kind(classify(200, fields, question(offset: 100))) == "bare range")
    #expect(
      kind(classify(200, fields, question(offset: 100, guardedBy: .validatorInAnswer))) == "accept from start")
    #expect(
      kind(classify(200, [("ETag", "\"2\"")], question(offset: 100))) == "accept from start")
  }

  @Test func r3TakesABareRangeOnlyOfTheRevisionHeld() {
    let range = ("Content-Range", "bytes 100-199/200")
    let bare = question(offset: 100, guardedBy: .validatorInAnswer)
    #expect(kind(classify(206, [range, ("ETag", "\"1\"")], bare)) == "accept at offset")
    #expect(kind(classify(206, [range, ("ETag", "\"2\"")], bare)) == "restart")
    #expect(kind(classify(206, [range], bare)) == "restart")
  }

  @Test(arguments: [
    ("bytes 100-199/200", "accept at offset"), ("Bytes 100-149/200", "accept at offset"),
    ("bytes 100-199/777", "restart"), ("bytes 64-199/200", "restart"), ("bytes 101-199/200", "restart"),
    ("bytes */200", "restart"), ("bytes 100-200/200", "restart"), ("bytes 199-100/200", "restart"),
    ("bytes 100-199", "restart"), ("items 100-199/200", "restart"), ("bytes 100-199/-1", "restart"),
    ("bytes 100-199/99999999999999999999", "restart"), ("bytes 100-199/*", "accept at offset"), ("", "restart"),
    ("bytes 100-199/200, 300-399/200", "restart"), ("bytes +100-199/200", "restart"),
  ])
  func r4AcceptsOnlyTheExactContentRange(range: String, wanted: String) {
    let verdict = classify(206, [("Content-Range", range), ("ETag", "\"1\"")], question(offset: 100, total: 200))
    #expect(kind(verdict) == wanted)
  }

  @Test func r4AcceptsARangeOfUnknownTotalOnlyIfTheSizeIsKnown() {
    let fields = [("Content-Range", "bytes 100-199/*"), ("ETag", "\"1\"")]
    #expect(kind(classify(206, fields, question(offset: 100))) == "restart")
    #expect(kind(classify(206, fields, question(offset: 100, expected: 200))) == "accept at offset")
    #expect(kind(classify(206, fields, question(offset: 100, expected: 150))) == "restart")
  }

  @Test func r4RefusesSeveralRangesAndMultipartAnswers() {
    let range = ("Content-Range", "bytes 100-199/200")
    #expect(kind(classify(206, [range, range], question(offset: 100))) == "restart")
    #expect(
      kind(classify(206, [range, ("Content-Type", "multipart/byteranges; boundary=x")], question(offset: 100)))
        == "restart")
    #expect(kind(classify(206, [], question(offset: 100))) == "restart")
    #expect(kind(classify(206, [range, ("Content-Length", "99")], question(offset: 100))) == "restart")
    #expect(kind(classify(206, [range], question())) == "next mirror: integrity")
  }

  @Test func r5StartsOverOnA200ToARange() {
    #expect(kind(classify(200, [("Content-Length", "200")], question(offset: 100))) == "accept from start")
    let odd = [("Content-Length", "200"), ("Content-Range", "bytes 100-199/200")]
    #expect(kind(classify(200, odd, question(offset: 100))) == "restart")
    #expect(kind(classify(200, odd, question())) == "next mirror: integrity")
  }

  @Test func r6TakesA416AsCompleteOnlyIfEveryNumberAgrees() {
    let exact = [("Content-Range", "bytes */100")]
    #expect(classify(416, exact, question(offset: 100)) == .alreadyComplete)
    #expect(classify(416, exact, question(offset: 100, expected: 100)) == .alreadyComplete)
    #expect(kind(classify(416, exact, question(offset: 100, expected: 200))) == "restart")
    #expect(kind(classify(416, exact, question(offset: 100, total: 200))) == "restart")
    #expect(kind(classify(416, [("Content-Range", "bytes */99")], question(offset: 100))) == "restart")
    #expect(kind(classify(416, [], question(offset: 100))) == "restart")
    #expect(kind(classify(416, [("Content-Range", "bytes */0")], question())) == "next mirror: integrity")
  }

  @Test func r7RefusesAWrongSizeBeforeTheBody() {
    #expect(kind(classify(200, [("Content-Length", "199")], question(expected: 200))) == "next mirror: integrity")
    let range = [("Content-Range", "bytes 100-776/777")]
    #expect(kind(classify(206, range, question(offset: 100, expected: 200))) == "next mirror: integrity")
    let double = [("Content-Length", "200"), ("Content-Length", "300")]
    #expect(kind(classify(200, double, question())) == "next mirror: integrity")
    #expect(kind(classify(200, [("Content-Length", "-5")], question())) == "next mirror: integrity")
  }

  @Test func r9ForgetsHeadersAtEveryStatusLine() {
    var reader = ResponseHeadReader()
    let lines = [
      "HTTP/1.1 100 Continue", "ETag: \"old\"", "", "HTTP/1.1 200 OK", "Content-Length: 7",
      "Transfer-Encoding: chunked", "",
    ]
    let steps = lines.map { reader.read(Array(($0 + "\r\n").utf8)) }
    guard case .head(let head) = steps.last else {
      Issue.record("no head")
      return
    }
    #expect(steps.dropLast().allSatisfy { $0 == .more })
    #expect(head.value("etag") == nil)
    #expect(head.bodyLength == .unknown)
  }

  @Test(arguments: [
    (404, "next mirror: absent"), (410, "next mirror: absent"), (401, "next mirror: refused"),
    (403, "next mirror: refused"), (400, "next mirror: refused"), (451, "next mirror: refused"),
    (408, "retry later"), (425, "retry later"), (429, "retry later"), (500, "retry later"), (503, "retry later"),
    (599, "retry later"), (204, "next mirror: integrity"), (203, "next mirror: integrity"),
    (300, "next mirror: integrity"), (302, "next mirror: integrity"), (304, "next mirror: integrity"),
    (600, "next mirror: integrity"),
  ])
  func r12KnowsWhoIsToBlame(status: Int, wanted: String) {
    #expect(kind(classify(status, [], question())) == wanted)
    // R20: it may be the range that is refused.
    let mayBeTheRange = [400, 403, 404, 405, 406, 412, 500, 501].contains(status)
    #expect(kind(classify(status, [], question(offset: 9))) == (mayBeTheRange ? "whole" : wanted))
    var chunk = question(offset: 9)
    chunk.byteCount = 5
    #expect(kind(classify(status, [], chunk)) == wanted)
  }

  @Test(arguments: [
    ("120", 120), ("0", 0), ("100000000", 300), ("99999999999999999999999", nil), ("-5", nil), ("soon", nil),
    ("1.5", nil), ("", nil), ("Tue, 14 Nov 2023 22:13:50 GMT", 30), ("Tue, 14 Nov 2000 22:13:50 GMT", 0),
    ("Tue, 14 Nov 2999 22:13:50 GMT", 300),
  ])
  func r13ClampsRetryAfter(value: String, seconds: Int?) {
    guard case .retryLater(let wait, _) = classify(503, [("Retry-After", value)], question()) else {
      Issue.record("not retried")
      return
    }
    #expect(wait == seconds.map { .seconds($0) })
  }

  @Test func takesA304OnlyForAConditionalRequest() {
    #expect(classify(304, [], question(isConditional: true)) == .unchanged)
  }

  @Test func followsARedirectOnlyWithOneLocation() {
    #expect(classify(302, [("Location", "/b")], question()) == .redirect(to: "/b"))
    #expect(kind(classify(302, [("Location", "/b"), ("Location", "/c")], question())) == "next mirror: integrity")
  }

  @Test func readsHTTPDates() {
    #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 GMT") == Date(timeIntervalSince1970: 784_111_777))
    #expect(HTTPDate.parse("Thu, 29 Feb 2024 00:00:00 GMT") == Date(timeIntervalSince1970: 1_709_164_800))
    #expect(HTTPDate.parse("Thu, 01 Jan 1970 00:00:00 GMT") == Date(timeIntervalSince1970: 0))
    #expect(HTTPDate.parse("Sunday, 06-Nov-94 08:49:37 GMT") == nil)
    #expect(HTTPDate.parse("Sun, 06 Nov 1994 25:49:37 GMT") == nil)
  }
}

@Suite struct WebAddressTests {
  @Test func s1FollowsRedirectsOnlyWhereTheyAreSafe() throws {
    let secure = try WebAddress("https://a.example/x/y.npy")
    #expect(try secure.redirected(to: "z.npy").url == "https://a.example/x/z.npy")
    #expect(try secure.redirected(to: "//b.example/z").origin == "https://b.example:443")
    #expect(try WebAddress("http://a.example/").redirected(to: "https://b.example/").scheme == .https)
    for location in [
      "http://a.example/x", "ftp://a.example/x", "file:///etc/passwd", "https://u:p@b.example/", "gopher://x/",
    ] {
      #expect(throws: TarnError.self, "\(location)") { _ = try secure.redirected(to: location) }
    }
  }

  @Test(arguments: [
    ("https://user:secret@host/a?part=1", "https://host/a?part=1"),
    ("https://host/a?token=secret&path=1&sig=secret", "https://host/a?token=REDACTED&path=1&sig=REDACTED"),
    ("https://host/a?X-Amz-Signature=secret", "https://host/a?X-Amz-Signature=REDACTED"),
    ("https://host/a@b?raw", "https://host/a@b?raw"), ("user:secret@host/a", "user:secret@host/a"),
    ("https://user:secret@\u{301}host/a", "https://\u{301}host/a"), ("https:///user:secret@host/a", "https:///host/a"),
    ("https://host/a?secret", "https://host/a?REDACTED"), ("https://host/a#token=secret", "https://host/a"),
  ])
  func s4RedactsCredentials(url: String, shown: String) {
    #expect(WebAddress.redacted(url) == shown)
  }

  @Test func knowsOriginsWithTheirPorts() throws {
    #expect(try WebAddress("HTTP://Host/a#b").origin == "http://host:80")
    #expect(try WebAddress("https://host:8443/a").origin == "https://host:8443")
    #expect(try WebAddress("file:///tmp/a%20b.npy").filePath == "/tmp/a b.npy")
  }
}
