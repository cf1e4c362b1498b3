// The server over a socket of this machine: what clients send that mean it well, that do not, and that never end.

import Base
import Dispatch
import Foundation
import Serve
import Synchronization
import Testing
import TestSupport

/// A server of no versions, and of no lake: what is asked here never gets to one.
private final class Served {
  let server: HttpServer
  private let handler: RequestHandler

  init(
    token: String? = nil, origins: [String] = [], served: ServedVersions = ServedVersions(), log: ServeLog? = nil,
    _ change: (inout ServeLimits) -> Void = { _ in }
  ) throws {
    var limits = ServeLimits()
    change(&limits)
    handler = try RequestHandler(
      { served }, root: "/none", tool: "/bin/false", nprobe: 8, providers: ServeProviders(), limits: limits)
    server = try HttpServer(
      handler, AccessPolicy(names: [], token: token, origins: origins), host: "127.0.0.1", port: 0, log: log)
  }

  deinit {
    server.stop(within: .zero)
    handler.close()
  }

  func client() throws -> LoopbackClient { try #require(LoopbackClient(port: server.port)) }

  /// The status of what one connection answers to some bytes; nil for none.
  func status(_ text: String) throws -> Int? {
    let client = try client()
    client.send(text)
    return client.readAnswer().flatMap { Int($0.head.dropFirst(9).prefix(3)) }
  }

  func get(_ target: String, _ headers: String = "") throws -> Int? {
    try status("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(headers)\r\n")
  }

  /// Whether it still answers.
  func lives() throws -> Bool { try get("/healthz") == 200 }
}

@Suite struct ServerTests {
  @Test func aConnectionIsKeptForTheNextRequest() throws {
    let served = try Served()
    let client = try served.client()
    for _ in 0..<3 {
      client.send("GET /indices-list HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let answer = try #require(client.readAnswer())
      #expect(answer.head.hasPrefix("HTTP/1.1 200 ") && answer.body == "[]\n")
      #expect(!answer.head.contains("Connection: close"))
    }
    // Sent all at once, they are answered in turn.
    client.send(String(repeating: "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", count: 20))
    for _ in 0..<20 { #expect(client.readAnswer()?.body == "ok\n") }
    // So are thousands of refusals.
    let wrong = "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"
    let asked = Thread { for _ in 0..<100 { client.send(String(repeating: wrong, count: 50)) } }
    asked.start()
    for _ in 0..<5000 { #expect(client.readAnswer()?.head.hasPrefix("HTTP/1.1 404 ") == true) }
    client.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    let rest = client.readToEnd()
    #expect(rest.contains("Content-Length: 3\r\n") && rest.hasSuffix("\r\n\r\n"))
  }

  @Test func everyAnswerForbidsWhatBrowsersWouldDo() throws {
    let served = try Served()
    for target in ["/healthz", "/none", "/api/none", "/assets/tarn.js", "/%"] {
      let client = try served.client()
      client.send("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let head = try #require(client.readAnswer()).head
      #expect(head.contains("default-src 'none'") && head.contains("frame-ancestors 'none'"), "\(target)")
      #expect(!head.contains("unsafe") && !head.contains("Access-Control-Allow"), "\(target)")
      for line in [
        "X-Content-Type-Options: nosniff", "Referrer-Policy: same-origin", "Cross-Origin-Resource-Policy: same-origin",
      ] {
        #expect(head.contains(line), "\(target)")
      }
    }
  }

  @Test func whatIsNoRequestIsRefused() throws {
    let served = try Served { $0.bodyByteCount = 1000 }
    let host = "Host: localhost\r\n"
    for (text, status) in [
      ("\u{16}\u{3}\u{1}\r\n\r\n", 400), ("GET / HTTP/9.9\r\n\(host)\r\n", 400), ("GET /healthz\r\n\r\n", 400),
      ("GET /healthz HTTP/1.1\r\n\r\n", 400), ("GET http://localhost/healthz HTTP/1.1\r\n\(host)\r\n", 400),
      ("GET /healthz HTTP/1.1\r\n\(host)\(host)\r\n", 400),
      ("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
      ("GET /healthz HTTP/1.1\r\n\(host)Bad Header: x\r\n\r\n", 400),
      ("GET /healthz HTTP/1.1\r\n\(host)X: a\u{0}b\r\n\r\n", 400),
      ("GET /healthz HTTP/1.1\r\n\(host)Origin: http://evil.example\r\n\r\n", 403),
      ("DELETE / HTTP/1.1\r\n\(host)\r\n", 405), ("POST /healthz HTTP/1.1\r\n\(host)Content-Length: 2\r\n\r\n{}", 405),
      ("GET /api/sql HTTP/1.1\r\n\(host)\r\n", 405), ("GET /../../etc/passwd HTTP/1.1\r\n\(host)\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: -1\r\n\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: 99999999999999999999999\r\n\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: 1001\r\n\r\n", 413),
      (
        "POST /knn-service HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n400\r\n\(String(repeating: "x", count: 1024))\r\n",
        413
      ),
      ("POST /knn-service HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n", 400),
      ("POST /knn-service HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
      // What was refused already stays refused for that.
      ("POST /none HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\nzz\r\n", 404),
      ("POST /knn-service HTTP/1.1\r\n\(host)Content-Length: 1\r\n\r\n{", 400),
      ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\n\(host)\r\n", 414),
      ("GET /healthz HTTP/1.1\r\n\(host)\(String(repeating: "X: y\r\n", count: 63))\r\n", 200),
      ("GET /healthz HTTP/1.1\r\n\(host)\(String(repeating: "X: y\r\n", count: 64))\r\n", 400),
      ("GET /healthz HTTP/1.1\r\n\(host)X: \(String(repeating: "y", count: 17_000))\r\n\r\n", 400),
    ] { #expect(try served.status(text) == status, "\(text.prefix(80).debugDescription)") }
    #expect(try served.lives())
  }

  /// People who ask for a page are told as a page what was wrong, programs as JSON.
  @Test func refusalsOfPagesArePages() throws {
    let served = try Served { $0.bodyByteCount = 1000 }
    let host = "Host: localhost\r\n"
    let long = String(repeating: "x", count: 9000)
    for (text, status, isPage) in [
      ("GET /search?q=\(long) HTTP/1.1\r\n\(host)\r\n", 414, true),
      ("GET /api/status?x=\(long) HTTP/1.1\r\n\(host)\r\n", 414, false),
      ("POST /search HTTP/1.1\r\n\(host)Content-Length: 2000\r\n\r\n", 413, true),
      ("POST /sql HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n7d0\r\n\(long.prefix(2000))\r\n", 413, true),
      ("POST /api/sql HTTP/1.1\r\n\(host)Content-Length: 2000\r\n\r\n", 413, false),
      ("DELETE /search HTTP/1.1\r\n\(host)\r\n", 405, true),
      ("GET /search HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, true),
    ] {
      let client = try served.client()
      client.send(text)
      let answer = try #require(client.readAnswer())
      #expect(answer.head.hasPrefix("HTTP/1.1 \(status) "), "\(text.prefix(40)): \(answer.head)")
      #expect(answer.head.contains("Content-Type: text/html") == isPage, "\(text.prefix(40)): \(answer.head)")
      #expect(answer.body.contains("role=\"alert\"") == isPage)
    }
    // What comes next on a connection and is no request is nobody's page.
    let client = try served.client()
    client.send("DELETE /search HTTP/1.1\r\n\(host)\r\n")
    #expect(client.readAnswer()?.head.hasPrefix("HTTP/1.1 405 ") == true)
    client.send("\u{16}\u{3}\u{1}\r\n\r\n")
    #expect(client.readAnswer()?.head.contains("application/json") == true)
  }

  /// A form is posted, so that a vector fits; what fits into an address is answered at one, which can be shared.
  @Test func aSearchThatFitsIntoAnAddressHasOne() throws {
    let served = try Served()
    func ask(_ form: String) throws -> (head: String, body: String) {
      let client = try served.client()
      client.send(
        "POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(form.utf8.count)\r\n\r\n\(form)")
      return try #require(client.readAnswer())
    }
    let words = "q=a+red+%23+bicycle&where=&version=v%401&k=10&nprobe=8"
    let short = try ask(words)
    #expect(short.head.hasPrefix("HTTP/1.1 303 "))
    #expect((short.head + "\r\n").contains("Location: /search?\(words)\r\n"), "\(short.head)")
    let component = "0.123456789,"
    let long = try ask("q=[\(String(repeating: component, count: 511))1]&k=10")
    #expect(long.head.hasPrefix("HTTP/1.1 404 ") && long.body.contains("no version is served"), "\(long)")
    // The form is there again, with what was written.
    #expect(long.body.contains("method=\"post\"") && long.body.contains(component + component))
    // Nothing that is posted becomes another header.
    let split = try ask("q=a\r\nSet-Cookie:+a=b")
    #expect(split.head.hasPrefix("HTTP/1.1 404 ") && !split.head.contains("Set-Cookie"))
  }

  @Test func whoIsNotReadySaysSoAndLives() throws {
    let names = [VersionName(name: "v", number: 2), VersionName(name: "w", number: 1)]
    for missing in [names, []] {
      let served = try Served(token: "correct-horse-battery", served: ServedVersions(missing: missing))
      #expect(try served.lives())
      let client = try served.client()
      client.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let answer = try #require(client.readAnswer())
      let document = try #require(JSONValue(parsing: answer.body), "\(answer.body)")
      #expect(answer.head.hasPrefix("HTTP/1.1 \(missing.isEmpty ? 200 : 503) "))
      #expect(document["ready"] == .bool(missing.isEmpty))
      let status: JSONValue? = missing.isEmpty ? nil : JSONValue.integer(503)
      #expect(document["error"]?["status"] == status)
      // What is served is for those with the token.
      #expect(!answer.body.contains("v@2") && answer.body.contains("2 versions") == !missing.isEmpty)
    }
  }

  @Test func everyRequestHasALineThatSaysNoMoreThanItMay() throws {
    let lines = Mutex<[String]>([])
    let log = try ServeLog { news in
      if case .request(let line) = news { lines.withLock { $0.append(line) } }
    }
    do {
      let served = try Served(token: "correct-horse-battery", log: log)
      #expect(try served.get("/healthz") == 200)
      #expect(try served.get("/search?q=planted&token=planted") == 401)
      #expect(try served.get("/\(String(repeating: "a", count: 3_000))") == 401)
      #expect(try served.get("/%0a%1b[31m\u{7F}", "Authorization: Bearer planted\r\n") == 400)
      #expect(try served.status("GET http://x:planted@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n") == 400)
      let last = try served.client()
      last.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      #expect(last.readToEnd().hasPrefix("HTTP/1.1 200 "))
      #expect(try served.status("\u{16}\u{3}\u{1}\r\n\r\n") == 400)
      // Who goes away before there is an answer has a line, too.
      let gone = try served.client()
      gone.send("POST /knn-service HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct-horse-battery\r\n")
      gone.send("Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
      #expect(gone.readAnswer()?.head.hasPrefix("HTTP/1.1 100 ") == true)
      withExtendedLifetime(served) {}
    }
    log.close()
    let said = lines.withLock(\.self)
    #expect(said.count == 8, "\(said)")
    let words = said.map { $0.split(separator: " ", omittingEmptySubsequences: false).map(String.init) }
    for line in words {
      #expect(line.count == 7 && line[1] == "127.0.0.1" && Timestamp.date(line[0]) != nil, "\(line)")
      #expect(line.allSatisfy { $0.utf8.count <= 200 && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } })
    }
    #expect(!"\(said)".contains("planted"))
    #expect(words.prefix(2).map { Array($0[2...4]) } == [["GET", "/healthz", "200"], ["GET", "/search", "401"]])
    #expect(words.first.map { $0[5] } == "3")
    #expect(words.contains { Array($0[2...5]) == ["HEAD", "/healthz", "200", "0"] })
    #expect(words.contains { Array($0[2...4]) == ["-", "-", "400"] })
    #expect(words.contains { Array($0[2...5]) == ["POST", "/knn-service", "-", "0"] }, "\(said)")
  }

  /// What the log took is told at the end, however much waits.
  @Test func aLogThatEndsTellsWhatItTook() throws {
    let (begun, mayGoOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let lines = Mutex(0)
    let faults = Mutex<[String]>([])
    let log = try ServeLog { news in
      begun.signal()
      mayGoOn.wait()
      mayGoOn.signal()
      if case .request = news { lines.withLock { $0 += 1 } }
      if case .fault(let text) = news { faults.withLock { $0.append(text) } }
    }
    func add() {
      log.add(
        AnsweredRequest(
          peer: "127.0.0.1", method: "GET", target: "/healthz", status: 200, byteCount: 3, duration: .zero))
    }
    add()
    begun.wait()
    // One is told, as many wait as may, and of three there is no line.
    for _ in 0..<4096 + 3 { add() }
    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(100)) { mayGoOn.signal() }
    log.close()
    #expect(lines.withLock(\.self) == 4097)
    #expect(faults.withLock(\.self) == ["3 requests without a line, as nobody read the log in time"])
  }

  /// Who reads nothing holds up nobody who says something, and what was left out is told.
  @Test func whatIsSaidWaitsForNobody() throws {
    let (begun, mayGoOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let said = Mutex<[ServeNews]>([])
    let log = try ServeLog { news in
      begun.signal()
      mayGoOn.wait()
      mayGoOn.signal()
      said.withLock { $0.append(news) }
    }
    log.say(.changed("v@2 is served in place of v@1"))
    begun.wait()
    for number in 0..<4096 + 2 { log.say(.fault("fault \(number)")) }
    mayGoOn.signal()
    log.close()
    let told = said.withLock(\.self)
    #expect(told.count == 4098 && told.first == .changed("v@2 is served in place of v@1"), "\(told.count)")
    #expect(
      told.contains(.fault("2 lines about what is served left out, as nobody read standard error in time")))
  }

  @Test func aServerThatDoesNotSeeTheCatalogIsNotReady() throws {
    var versions = ServedVersions()
    versions.isUnwatched = true
    let served = try Served(served: versions)
    let client = try served.client()
    client.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    let answer = try #require(client.readAnswer())
    #expect(answer.head.hasPrefix("HTTP/1.1 503 ") && answer.body.contains("was not read for 60 s"), "\(answer)")
    #expect(try served.lives())
    // Nothing is wrong with the catalog while a version is opened.
    versions.isOpening = true
    let opening = try Served(served: versions)
    let other = try opening.client()
    other.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    let told = try #require(other.readAnswer())
    #expect(told.head.hasPrefix("HTTP/1.1 503 ") && told.body.contains("takes more than 60 s to open"), "\(told)")
    #expect(!told.body.contains("standard error"), "\(told)")
    versions.isUnwatched = false
    #expect(try Served(served: versions).get("/readyz") == 200)
  }

  @Test func aTokenIsWanted() throws {
    let served = try Served(token: "correct-horse-battery")
    #expect(try served.lives())
    #expect(try served.get("/readyz") == 200)
    for target in ["/", "/metrics", "/indices-list", "/assets/tarn.js", "/none"] {
      #expect(try served.get(target) == 401)
    }
    #expect(try served.get("/indices-list", "Authorization: Bearer correct-horse-battery\r\n") == 200)
  }

  @Test func pagesOfAnOriginThatWasNamedMayAskWhatProgramsAsk() throws {
    let token = "correct-horse-battery"
    let served = try Served(token: token, origins: ["https://front.example"])
    func ask(_ method: String, _ target: String, _ origin: String, _ headers: String = "") throws -> String {
      let client = try served.client()
      client.send(
        "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nOrigin: \(origin)\r\nSec-Fetch-Site: cross-site\r\n"
          + "\(headers)Content-Length: 0\r\n\r\n")
      return try #require(client.readAnswer()).head
    }
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n"
    let allowed = "Access-Control-Allow-Origin: https://front.example\r\n"
    // Browsers ask first, and present no token then.
    let first = try ask("OPTIONS", "/knn-service", "https://front.example", asks)
    #expect(first.hasPrefix("HTTP/1.1 200 ") && first.contains(allowed) && first.contains("Vary: Origin"))
    #expect(first.contains("Access-Control-Allow-Methods: POST\r\n"))
    #expect(first.contains("Access-Control-Allow-Headers: Authorization, Content-Type\r\n"))
    let authorised = "Authorization: Bearer \(token)\r\n"
    // A refusal is told to the page, too.
    for (method, target, headers, status) in [
      ("GET", "/indices-list", authorised, 200), ("GET", "/indices-list", "", 401),
      ("POST", "/knn-service", authorised, 400),
      ("GET", "/api/none", authorised, 404), ("OPTIONS", "/indices-list", authorised, 405),
    ] {
      let head = try ask(method, target, "https://front.example", headers)
      #expect(head.hasPrefix("HTTP/1.1 \(status) ") && head.contains(allowed), "\(head)")
      #expect(head.contains("Cross-Origin-Resource-Policy: cross-origin"), "\(head)")
    }
    // Neither other origins nor pages and what belongs to them.
    for (method, target, origin) in [
      ("OPTIONS", "/knn-service", "https://evil.example"), ("OPTIONS", "/knn-service", "http://front.example"),
      ("OPTIONS", "/knn-service", "https://front.example:444"), ("POST", "/knn-service", "null"),
      ("POST", "/knn-service", "https://front.example.evil.example"), ("POST", "/sql", "https://front.example"),
      ("GET", "/", "https://front.example"), ("OPTIONS", "/sql", "https://front.example"),
      ("GET", "/assets/tarn.js", "https://front.example"),
    ] {
      let head = try ask(method, target, origin, authorised + asks)
      #expect(head.hasPrefix("HTTP/1.1 403 "), "\(method) \(target) \(origin): \(head)")
    }
    #expect(try served.lives())
  }

  @Test func aBodyThatIsRefusedIsReadSoThatTheConnectionGoesOn() throws {
    let served = try Served()
    let client = try served.client()
    client.send(
      "POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nGET GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    #expect(client.readAnswer()?.head.hasPrefix("HTTP/1.1 404 ") == true)
    #expect(client.readAnswer()?.body == "ok\n")
  }

  @Test func whoNeverEndsIsLeft() throws {
    let served = try Served {
      $0.headTime = .milliseconds(200)
      $0.bodyTime = .milliseconds(200)
      $0.sendTime = .milliseconds(200)
    }
    // Nothing, half a head, half a body: the server hangs up, or there would be no end to read to.
    for text in ["", "GET / HTTP/1.1\r\nHost: loc"] {
      let client = try served.client()
      client.send(text)
      #expect(client.readToEnd().isEmpty)
    }
    let client = try served.client()
    client.send("POST /knn-service HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    #expect(client.readToEnd().hasPrefix("HTTP/1.1 408 "))
    // One that asks again and again and reads nothing.
    let deaf = try served.client()
    while deaf.send("GET /assets/tarn.css HTTP/1.1\r\nHost: localhost\r\n\r\n") {}
    #expect(try served.lives())
  }

  @Test func idleConnectionsMakeRoom() throws {
    let served = try Served { $0.connections = 20 }
    let idle = try (0..<200).map { _ in try served.client() }
    #expect(try served.lives())
    // The oldest were closed for the newest.
    #expect(idle[0].readToEnd().isEmpty)
    idle[199].send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    #expect(idle[199].readAnswer()?.body == "ok\n")
  }

  @Test func bodiesThatAreHeldTogetherAreBounded() throws {
    let served = try Served { $0.heldByteCount = 100_000 }
    let head = "POST /knn-service HTTP/1.1\r\nHost: localhost\r\nContent-Length: 80000\r\n\r\n"
    let part = String(repeating: " ", count: 60_000)
    let first = try served.client()
    first.send(head + part)
    // Once the first's bytes are held there is no room for the second's.
    var refused = false
    for _ in 0..<600 where !refused {
      let second = try served.client()
      second.send(head + part + String(repeating: " ", count: 20_000))
      refused = second.readAnswer()?.head.hasPrefix("HTTP/1.1 503 ") == true
    }
    #expect(refused)
    first.send(String(repeating: " ", count: 20_000))
    #expect(first.readAnswer()?.head.hasPrefix("HTTP/1.1 400 ") == true)
    #expect(try served.lives())
  }
}
