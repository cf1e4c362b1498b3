// Listings: places, pages and their course, without a network.

import Base
import Fetch
import Foundation
import Testing
import TestSupport

@Suite struct ListingTests {
  private static let hub = "https://huggingface.co"

  private func place(_ text: String, hub: String = hub) throws -> ListingPlace {
    try ListingPlace(parsing: text, hub: hub)
  }

  // MARK: Places

  @Test(arguments: [
    (
      "hf://datasets/org/set", "hf://datasets/org/set",
      "https://huggingface.co/datasets/org/set/resolve/main/a%20b.npy", ""
    ),
    (
      "hf://datasets/org/set@v1/x/y/", "hf://datasets/org/set@v1/x/y",
      "https://huggingface.co/datasets/org/set/resolve/v1/a%20b.npy", "x/y/"
    ),
    (
      "hf://datasets/org/set@refs/convert/parquet/x", "hf://datasets/org/set@refs%2Fconvert%2Fparquet/x",
      "https://huggingface.co/datasets/org/set/resolve/refs%2Fconvert%2Fparquet/a%20b.npy", "x/"
    ),
    ("hf://org/model", "hf://org/model", "https://huggingface.co/org/model/resolve/main/a%20b.npy", ""),
    (
      "https://huggingface.co/api/datasets/org/set/tree/main/a%20b", "hf://datasets/org/set@main/a%20b",
      "https://huggingface.co/datasets/org/set/resolve/main/a%20b.npy", "a b/"
    ),
    (
      "https://hub.example/copy/datasets/org/set/tree/v1", "https://hub.example/copy/datasets/org/set/tree/v1",
      "https://hub.example/copy/datasets/org/set/resolve/v1/a%20b.npy", ""
    ),
    ("s3://bucket/a b/".replacing(" ", with: "%20"), "s3://bucket/a%20b/", "s3://bucket/a%20b.npy", "a b/"),
    ("s3://bucket", "s3://bucket/", "s3://bucket/a%20b.npy", ""),
  ])
  func aPlaceIsReadAndWritten(text: String, canonical: String, url: String, start: String) throws {
    let place = try place(text)
    #expect(place.text == canonical)
    #expect(try self.place(place.text) == place)
    #expect(place.url(of: "a b.npy", at: nil) == url)
    #expect(place.path(of: url) == "a b.npy")
    #expect(place.start == start)
    #expect(place.path(of: "https://elsewhere/datasets/org/set/resolve/main/a.npy") == nil)
  }

  @Test func aCommitIsInTheAddressesAndTheRevisionInThePlace() throws {
    let commit = String(repeating: "ab", count: 20)
    let place = try place("hf://datasets/org/set/x")
    let url = place.url(of: "x/é.npy", at: commit)
    #expect(url == "https://huggingface.co/datasets/org/set/resolve/\(commit)/x/%C3%A9.npy")
    #expect(place.path(of: url) == "x/é.npy")
    #expect(try place.at("v2").text == "hf://datasets/org/set@v2/x")
    #expect(throws: TarnError.self) { try place.at("../x") }
    #expect(throws: TarnError.self) { try self.place("s3://bucket/x/").at("v2") }
  }

  @Test(arguments: [
    "hf://datasets/org", "hf://datasets/../x", "hf://datasets/org/set@/x", "hf://datasets/org/set/../x",
    "hf:/datasets/org/set",
    "https://host/datasets/org/set", "https://host/x/org/set/tree/main", "https://u:p@host/datasets/org/set/tree/main",
    "https://host/datasets/org/set/tree/main?x=y", "hf://datasets/org/se t", "file:///tmp", "s3://", "gs://bucket/x",
    "",
    "hf://datasets/org/set%0a", "hf://datasets/org/set/a%0ab",
  ])
  func whatIsNoPlaceIsRefused(text: String) {
    #expect(throws: TarnError.self) { try place(text) }
  }

  @Test func theTokenIsForTheHubAlone() {
    func headers(_ hub: String?, _ origin: String) -> [String] {
      Credentials(environment: ["HF_TOKEN": "hf_x"].merging(hub.map { ["HF_ENDPOINT": $0] } ?? [:]) { $1 })
        .headers(for: origin)
    }
    #expect(headers(nil, "https://huggingface.co:443") == ["Authorization: Bearer hf_x"])
    #expect(headers("https://hub.example/", "https://hub.example:443") == ["Authorization: Bearer hf_x"])
    #expect(headers("https://hub.example/", "https://huggingface.co:443").isEmpty)
    #expect(headers("http://127.0.0.1:8000", "http://127.0.0.1:8000") == ["Authorization: Bearer hf_x"])
    // Not in the clear over a network.
    #expect(headers("http://hub.example", "http://hub.example:80").isEmpty)
  }

  // MARK: Pages

  private static let asked = "https://huggingface.co/api/datasets/org/set/tree/main/x?recursive=true"

  private func page(_ json: String, links: [String] = [], at address: String = asked) throws -> ListingPage {
    try ListingPage(tree: Array(json.utf8), links: links, at: address)
  }

  @Test func aPageOfATreeIsRead() throws {
    let digest = String(repeating: "0a", count: 32)
    let page = try page(
      """
      [{"type":"directory","oid":"x","size":0,"path":"x/y"},
       {"type":"file","oid":"x","size":7,"path":"x/README.md"},
       {"type":"file","oid":"x","size":9,"path":"x/a.npy","lfs":{"oid":"\(digest)","size":9,"pointerSize":134},"xetHash":"z"},
       {"type":"file","path":"x/b.npy","lfs":null}]
      """)
    #expect(
      page
        == ListingPage(
          files: [
            ListedFile(path: "x/README.md", byteCount: 7),
            ListedFile(path: "x/a.npy", byteCount: 9, digest: ContentDigest(hex: digest)), ListedFile(path: "x/b.npy"),
          ], next: nil))
  }

  @Test(arguments: [
    ("<https://huggingface.co/api/datasets/org/set/tree/main/x?recursive=true&cursor=ab%3D>; rel=\"next\"", "ab%3D"),
    ("<?cursor=ab>; rel=next", "ab"),
    (
      "<https://huggingface.co/first?cursor=0>; rel=\"first\", </api/datasets/org/set/tree/main/x?cursor=b>; rel=\"next\"",
      "b"
    ),
    ("</other>; rel=\"prev\"", nil), ("nonsense", nil), ("", nil),
  ])
  func theNextPageIsOfTheSameTree(link: String, cursor: String?) throws {
    #expect(try page("[]", links: [link]).next == cursor)
  }

  @Test(arguments: [
    "<https://elsewhere.example/api/datasets/org/set/tree/main/x?cursor=b>; rel=\"next\"",
    "<http://huggingface.co/api/datasets/org/set/tree/main/x?cursor=b>; rel=\"next\"",
    "<http://169.254.169.254/latest?cursor=b>; rel=\"next\"", "<file:///etc/passwd?cursor=b>; rel=\"next\"",
    "<https://huggingface.co/api/datasets/other/set/tree/main/x?cursor=b>; rel=\"next\"",
    "<?page=2>; rel=next", "<?cursor=>; rel=next", "<?cursor=a&cursor=b>; rel=next",
    "<?cursor=a>; rel=next, <?cursor=b>; rel=next",
  ])
  func aNextPageElsewhereIsNotFollowed(link: String) {
    #expect(throws: TarnError.self) { try page("[]", links: [link]) }
  }

  /// What copies a Hub hands its links on: the cursor is asked of the copy.
  @Test func aCopyOfTheHubMayNameTheHub() throws {
    let link = "<https://huggingface.co/api/datasets/org/set/tree/main?cursor=b>; rel=\"next\""
    #expect(try page("[]", links: [link], at: "https://copy.example/hub/api/datasets/org/set/tree/main").next == "b")
  }

  @Test(arguments: [
    "", "[", "{}", "[1]", "[{}]", #"[{"type":"file"}]"#, #"[{"type":"file","path":1}]"#,
    #"[{"type":"file","path":"a","size":-1}]"#, #"[{"type":"file","path":"a","size":1.5}]"#,
    #"[{"type":"file","path":"a","size":99999999999999999999}]"#, #"[{"type":"file","path":"a","lfs":{}}]"#,
    #"[{"type":"file","path":"a","lfs":{"oid":"abc"}}]"#, #"[{"type":"file","path":"a","path":"b"}]"#, "[]]", "<html>",
    String(repeating: "[", count: 200_000),
  ])
  func whatIsNoPageIsRefused(json: String) {
    #expect(throws: TarnError.self) { try page(json) }
  }

  @Test func aPageOfAStoreIsRead() throws {
    func read(_ text: String) throws -> ListingPage { try ListingPage(store: Array(text.utf8), of: "s3://b/") }
    let page = try read(
      """
      <ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>
      <Contents><Key>a+b/%C3%A9%2B%26.npy</Key><Size>12</Size><ETag>&quot;x&quot;</ETag></Contents>
      <Contents><Key>a+b/</Key><Size>0</Size></Contents></ListBucketResult>
      """)
    #expect(page == ListingPage(files: [ListedFile(path: "a b/é+&.npy", byteCount: 12)], next: "t&1"))
    // A store that knows no encoding writes keys as they are.
    #expect(
      try read("<ListBucketResult><Contents><Key>a+%41.npy</Key><Size>1</Size></Contents></ListBucketResult>").files
        == [ListedFile(path: "a+%41.npy", byteCount: 1)])
    for hostile in [
      "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
      "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
      "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
      "<ListBucketResult><Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
      "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
      "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key><Size>1</Size></Contents></ListBucketResult>",
    ] { #expect(throws: TarnError.self, "\(hostile)") { try read(hostile) } }
  }

  // MARK: Troubles

  /// A place that fails now and then, and answers in between, is waited for each time anew.
  @Test func r21APageThatCameEndsATrouble() throws {
    let clock = ScriptedClock(step: .seconds(1))
    let server = try HostileServer { request in
      guard request.precedingCount >= 2 else { return .answer(503) }
      let page = request.target.firstRange(of: "cursor=").flatMap { Int(request.target[$0.upperBound...]) } ?? 0
      let links = page < 9 ? ["Link: <?cursor=\(page + 1)>; rel=\"next\""] : []
      return .answer(200, headers: links, body: Array("[{\"type\":\"file\",\"path\":\"\(page).npy\"}]".utf8))
    }
    let place = try place("hf://datasets/org/set@" + String(repeating: "ab", count: 20), hub: server.url(""))
    let reader = try ListingReader(
      configuration: quickConfiguration(), patience: .seconds(40), clock: { clock.now }, isCancelled: { false },
      onTrouble: { _, _, _ in })
    let listing = try reader.files(of: place) { _ in true }
    #expect(listing.files.count == 10)
    // Longer than the patience with any one of them.
    #expect(clock.elapsed > .seconds(40))
  }

  /// Of a list whose end is that of the connection nobody can tell whether it was cut.
  @Test func r8AListThatDoesNotSayItsLengthIsRefused() throws {
    let text = Array("https://host/a.npy\nhttps://host/b.npy\n".utf8)
    let server = try HostileServer { request in
      switch request.target {
      case "/length": .answer(200, body: text)
      case "/chunked": .answer(200, body: text, framing: .chunked)
      case "/identity": .answer(200, headers: ["Transfer-Encoding: identity"], body: text, framing: .untilClose)
      case "/cut": .answer(200, body: Array(text[..<19]), framing: .length(text.count))
      default: .answer(200, body: Array(text[..<19]), framing: .untilClose)
      }
    }
    let reader = try ListingReader(
      configuration: quickConfiguration(), patience: .zero, clock: { .now }, isCancelled: { false },
      onTrouble: { _, _, _ in })
    #expect(try reader.list(at: server.url("/length")) == text)
    #expect(try reader.list(at: server.url("/chunked")) == text)
    for (target, code) in [("/none", TarnError.Code.integrity), ("/identity", .integrity), ("/cut", .temporary)] {
      let error = #expect(throws: TarnError.self) { try reader.list(at: server.url(target)) }
      #expect(error?.code == code, "\(target): \(String(describing: error))")
    }
  }

  // MARK: The course

  private func course(_ change: (inout ListingCourse.Limits) -> Void = { _ in }) -> ListingCourse {
    var limits = ListingCourse.Limits()
    change(&limits)
    return ListingCourse(of: "x", limits: limits) { $0.hasSuffix(".npy") }
  }

  private func file(_ path: String, _ byteCount: Int? = 100) -> ListedFile {
    ListedFile(path: path, byteCount: byteCount)
  }

  @Test func aCourseTakesPagesUntilTheLast() throws {
    var course = course()
    #expect(course.cursor == nil && !course.isWhole)
    try course.take([file("d/b.npy"), file("d/b.txt")], below: "d/", byteCount: 10, next: "1")
    #expect(course.cursor == "1" && !course.isWhole)
    try course.take([], below: "d/", byteCount: 10, next: "2")
    try course.take([file("d/a.npy")], below: "d/", byteCount: 10, next: nil)
    #expect(course.isWhole && course.cursor == nil)
    #expect(course.files.map(\.path) == ["d/b.npy", "d/a.npy"])
  }

  @Test(arguments: [
    "e/a.npy", "d", "d/", "d/../a.npy", "d/./a.npy", "d//a.npy", "/d/a.npy", "d/\u{202E}a.npy", "d/a\u{0}.npy",
    "d/a\\b.npy",
    "d/" + String(repeating: "a", count: 2_000) + ".npy",
  ])
  func aNameThatIsNoneEndsIt(path: String) {
    var course = course()
    #expect(throws: TarnError.self) { try course.take([file(path)], below: "d/", byteCount: 1, next: nil) }
  }

  @Test func anEndlessOrBoundlessListingEnds() throws {
    var repeated = course()
    try repeated.take([], below: "", byteCount: 1, next: "a")
    try repeated.take([], below: "", byteCount: 1, next: "b")
    #expect(throws: TarnError.self) { try repeated.take([], below: "", byteCount: 1, next: "a") }
    var endless = course { $0.pageCount = 50 }
    #expect(throws: TarnError.self) {
      for number in 0..<51 { try endless.take([], below: "", byteCount: 1, next: "\(number)") }
    }
    var large = course { $0.byteCount = 1_000 }
    try large.take([], below: "", byteCount: 1_000, next: "a")
    #expect(throws: TarnError.self) { try large.take([], below: "", byteCount: 1, next: nil) }
    var many = course { $0.fileCount = 2 }
    // What is not wanted does not count.
    try many.take([file("1.npy"), file("2.npy"), file("3.txt")], below: "", byteCount: 1, next: "a")
    #expect(throws: TarnError.self) { try many.take([file("3.npy")], below: "", byteCount: 1, next: nil) }
    for cursor in ["", "a b", "a\r\nHost: x", String(repeating: "a", count: 5_000)] {
      var course = course()
      #expect(throws: TarnError.self) { try course.take([], below: "", byteCount: 1, next: cursor) }
    }
    for size in [0, 1 << 60] {
      var course = course()
      #expect(throws: TarnError.self) { try course.take([file("a.npy", size)], below: "", byteCount: 1, next: nil) }
    }
    var twice = course()
    try twice.take([file("a.npy")], below: "", byteCount: 1, next: "a")
    #expect(throws: TarnError.self) { try twice.take([file("a.npy")], below: "", byteCount: 1, next: nil) }
  }
}
