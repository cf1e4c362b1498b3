// Who may ask: hosts, origins, sites and tokens, as browsers and others send them.

import Foundation
import Serve
import Testing

@Suite struct AccessPolicyTests {
  private func status(
    _ headers: [(String, String)], token: String? = nil, names: [String] = [], isOpen: Bool = false,
    isPage: Bool = false
  ) throws -> Int {
    let head = RequestHead(method: "GET", target: "/", headers: headers.map { (name: $0.0, value: $0.1) })
    return try AccessPolicy(names: names, token: token).refusal(of: head, isOpen: isOpen, isPage: isPage)?.status ?? 200
  }

  @Test(arguments: [
    ("127.0.0.1", 200), ("127.0.0.1:7700", 200), ("localhost", 200), ("LOCALHOST:80", 200), ("[::1]:7700", 200),
    ("[::1]", 200), ("192.0.2.7:9", 200), ("search.example:443", 200),
    // Names that somebody lets point here.
    ("evil.example", 421), ("evil.example:7700", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421),
    ("127.1", 421), ("0x7f000001", 421), ("2130706433", 421), ("1.2.3.4.5", 421), ("256.0.0.1", 421),
    // What is no host at all.
    ("", 400), (":7700", 400), ("a b", 400), ("localhost:", 400), ("localhost:70000", 400), ("localhost:+1", 400),
    ("user@localhost", 400), ("[::1", 400), ("[evil.example]", 400), ("localhost/x", 400), ("\u{0}localhost", 400),
  ])
  func aHostIsAnAddressOrANameThatWasGiven(host: String, expected: Int) throws {
    #expect(try status([("Host", host)], names: ["Search.Example"]) == expected)
  }

  @Test func thereIsOneHost() throws {
    #expect(try status([]) == 400)
    #expect(try status([("Host", "localhost"), ("host", "localhost")]) == 400)
  }

  @Test(arguments: [
    ("http://localhost:7700", 200), ("https://LOCALHOST:7700", 200), ("http://localhost", 403), ("null", 403),
    ("http://evil.example", 403), ("http://localhost:7700.evil.example", 403), ("", 403), ("file://", 403),
  ])
  func anOriginIsTheHosts(origin: String, expected: Int) throws {
    #expect(try status([("Host", "localhost:7700"), ("Origin", origin)]) == expected)
  }

  /// A proxy that passes another host on leaves the forms of pages to be posted, where the browser says whose they are.
  @Test func aPageBehindAProxyOfAnotherNamePostsItsForm() throws {
    func posted(_ site: String?, isPage: Bool, isForPrograms: Bool = false) throws -> (status: Int, text: String) {
      let headers = [
        (name: "Host", value: "127.0.0.1:7700"), (name: "Origin", value: "https://search.example"),
      ]
      let head = RequestHead(
        method: "POST", target: "/search",
        headers: headers + (site.map { [(name: "Sec-Fetch-Site", value: $0)] } ?? []))
      let refusal = try AccessPolicy(names: [], token: nil)
        .refusal(of: head, isOpen: false, isPage: isPage, isForPrograms: isForPrograms)
      return (refusal?.status ?? 200, String(decoding: refusal?.body ?? [], as: UTF8.self))
    }
    #expect(try posted("same-origin", isPage: true).status == 200)
    for site in ["same-site", "cross-site", "none"] { #expect(try posted(site, isPage: true).status == 403, "\(site)") }
    // Over plain HTTP browsers do not say it; then somebody else has to do something, and is told.
    let refused = try posted(nil, isPage: true)
    #expect(refused.status == 403 && refused.text.contains("header Host"), "\(refused.text)")
    // What programs ask can be asked at no address.
    let programs = try posted("same-origin", isPage: false, isForPrograms: true)
    #expect(programs.status == 403 && programs.text.contains("--allow-origin https://search.example"))
  }

  @Test func anotherSiteMayLinkToAPageAndNoMore() throws {
    func asked(_ site: String, _ mode: String, _ dest: String, isPage: Bool) throws -> Int {
      try status(
        [("Host", "localhost"), ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)],
        isPage: isPage)
    }
    #expect(try asked("cross-site", "navigate", "document", isPage: true) == 200)
    #expect(try asked("cross-site", "navigate", "document", isPage: false) == 403)
    #expect(try asked("cross-site", "navigate", "iframe", isPage: true) == 403)
    #expect(try asked("cross-site", "no-cors", "image", isPage: true) == 403)
    #expect(try asked("same-site", "cors", "empty", isPage: false) == 403)
    #expect(try asked("same-origin", "cors", "empty", isPage: false) == 200)
    #expect(try asked("none", "navigate", "document", isPage: false) == 200)
  }

  @Test func aTokenIsPresentedInOneOfTwoWays() throws {
    let token = "correct-horse-battery"
    func basic(_ text: String) -> String { "Basic " + Data(text.utf8).base64EncodedString() }
    func asked(_ values: String...) throws -> Int {
      try status([("Host", "localhost")] + values.map { ("Authorization", $0) }, token: token)
    }
    #expect(try asked() == 401)
    #expect(try asked("Bearer \(token)") == 200)
    #expect(try asked("bearer \(token)") == 200)
    #expect(try asked(basic("anybody:\(token)")) == 200)
    #expect(try asked(basic(":\(token)")) == 200)
    for wrong in [
      "Bearer", "Bearer ", "Bearer \(token)x", "Bearer \(token.dropLast())", token, basic(token), basic("\(token):"),
      "Basic !",
      "Digest \(token)",
    ] { #expect(try asked(wrong) == 401, "\(wrong)") }
    #expect(try asked("Bearer \(token)", "Bearer \(token)") == 401)
    // Whether it lives, everybody may know.
    #expect(try status([("Host", "localhost")], token: token, isOpen: true) == 200)
  }

  @Test(arguments: ["", "short", "fifteen-letters", "sixteen letters.", "sechzehn-Zeichén"])
  func aTokenThatCouldBeGuessedOrSentByNobodyIsRefused(token: String) {
    #expect(throws: (any Error).self) { try AccessPolicy(names: [], token: token) }
  }

  @Test(arguments: [
    "", "*", "null", "front.example", "https://", "https://front.example/", "https://front.example/path",
    "ftp://a.example",
    "https://a.example:", "https://user@a.example", "https://a b", "https://a.example:70000",
  ])
  func whatIsNoOriginIsNotTakenForOne(text: String) {
    #expect(throws: (any Error).self) { try AccessPolicy(names: [], token: nil, origins: [text]) }
  }

  @Test func noOriginIsLetInThatWasNotNamed() throws {
    func status(_ origin: String, _ origins: [String], isForPrograms: Bool) throws -> Int {
      let head = RequestHead(
        method: "POST", target: "/",
        headers: [("Host", "localhost"), ("Origin", origin), ("Sec-Fetch-Site", "cross-site")])
      return try AccessPolicy(names: [], token: nil, origins: origins)
        .refusal(of: head, isOpen: false, isPage: false, isForPrograms: isForPrograms)?.status ?? 200
    }
    #expect(try status("https://a.example", [], isForPrograms: true) == 403)
    #expect(
      try status("https://a.example", ["https://A.example", "http://b.example:8080"], isForPrograms: true) == 200)
    #expect(
      try status("http://b.example:8080", ["https://a.example", "http://b.example:8080"], isForPrograms: true) == 200)
    #expect(try status("http://b.example", ["http://b.example:8080"], isForPrograms: true) == 403)
    #expect(try status("https://a.example", ["https://a.example"], isForPrograms: false) == 403)
  }
}
