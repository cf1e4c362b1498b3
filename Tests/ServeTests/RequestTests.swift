// Targets and routes: what is served is a list, and everything else is not there.

import Serve
import Testing

@Suite struct RequestTests {
  @Test(arguments: [
    ("/", []), ("/api/status", ["api", "status"]), ("/versions/v%401", ["versions", "v@1"]), ("/a?b=/../c", ["a"]),
    ("/a+b", ["a+b"]),
  ])
  func aPathIsTakenApart(text: String, parts: [String]) { #expect(RequestTarget(parsing: text)?.parts == parts) }

  @Test(arguments: [
    "", "*", "a", "http://evil.example/", "//evil.example/", "/a//b", "/a/", "/..", "/../etc/passwd", "/a/../b", "/./a",
    "/%2e%2e/a",
    "/%2E%2E%2Fetc", "/a%2fb", "/a%5cb", "/a\\..\\b%5c", "/%00", "/a%0d%0aSet-Cookie:x", "/%", "/%4", "/%zz", "/%ff",
    "/%c0%ae", "/a#b",
    "/a b", "/ä", "/%7f", "/a?b=%", "/a?%ff=1",
  ])
  func tricksAreRefused(text: String) { #expect(RequestTarget(parsing: text) == nil) }

  @Test func aQueryIsDecoded() throws {
    let target = try #require(RequestTarget(parsing: "/search?q=a+red%20bike%26x&id=1&id=2&empty=&none&=x"))
    #expect(target["q"] == "a red bike&x" && target["empty"] == "" && target["none"] == "" && target["absent"] == nil)
    #expect(target.items.filter { $0.name == "id" }.map(\.value) == ["1", "2"])
  }

  private func route(_ method: String, _ path: String) -> Result<ServeRoute, ServeRoute.Refusal> {
    let parts = RequestTarget(parsing: path)?.parts ?? ["?"]
    return Result { () throws(ServeRoute.Refusal) in try ServeRoute(method, parts) }
  }

  @Test func everyPathTakesItsMethodsAlone() {
    let reads = [
      "/", "/healthz", "/readyz", "/metrics", "/indices-list", "/config.json", "/versions", "/versions/v@1",
      "/assets/tarn.js", "/api/look", "/api/status", "/api/versions", "/api/show", "/api/sources", "/api/locate",
    ]
    let posts = ["/knn-service", "/metadata", "/api/search", "/api/sql"]
    let forms = ["/search", "/sql"]
    for path in reads + posts + forms {
      let allowed =
        reads.contains(path) ? ["GET", "HEAD"] : forms.contains(path) ? ["GET", "HEAD", "POST"] : ["POST"]
      for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", ""] {
        switch route(method, path) {
        case .success: #expect(allowed.contains(method), "\(method) \(path)")
        case .failure(let refusal):
          #expect(!allowed.contains(method), "\(method) \(path)")
          #expect(refusal == .method(allowed: allowed.joined(separator: ", ")))
        }
      }
    }
  }

  @Test(arguments: [
    "/none", "/api", "/api/gc", "/api/sync", "/api/sql/x", "/assets", "/assets/a/b", "/versions/a/b", "/catalog.sqlite",
  ])
  func nothingElseIsThere(path: String) { #expect(route("GET", path) == .failure(.notFound)) }
}
