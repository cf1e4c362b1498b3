import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct ShardLifeTests {
  private func bytes(_ text: String, path: String, lake: TemporaryLake) throws -> FetchedBytes {
    let full = lake.catalog.layout.shards + "/" + path
    try Disk.makeDirectory((full as NSString).deletingLastPathComponent)
    try Disk.writeAtomically(Array(text.utf8), to: full)
    return FetchedBytes(
      digest: .of(text), byteCount: text.utf8.count, rowCount: 5, path: path, mirrorID: nil, etag: nil,
      lastModified: nil)
  }

  private func shard(_ ordinal: Int, _ source: Source, _ lake: TemporaryLake) throws -> Shard {
    try lake.catalog.shards(of: source)[ordinal]
  }

  @Test func theBudgetCountsReservedAndHeldBytes() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 3)
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 60, budget: 100))
    #expect(try !lake.catalog.reserve(shard(1, source, lake), byteCount: 41, budget: 100))
    #expect(try lake.catalog.reserve(shard(1, source, lake), byteCount: 40, budget: 100))
    try lake.catalog.recordFetched(
      bytes("twelve bytes", path: "images/0.a.npy", lake: lake), of: shard(0, source, lake))
    #expect(try lake.catalog.cachedByteCount() == 52)
    try lake.catalog.endFetch(shardID: shard(1, source, lake).id, as: nil, error: nil)
    #expect(try lake.catalog.cachedByteCount() == 12)
    try lake.catalog.evict(shard(0, source, lake))
    #expect(try lake.catalog.cachedByteCount() == 0)
    #expect(try shard(0, source, lake).state == .evicted)
    #expect(Disk.size(of: lake.catalog.layout.shards + "/images/0.a.npy") == nil)
  }

  @Test func d3AnEvictionThatWasCutShortIsFinished() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 1)
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.recordFetched(
      bytes("nine byte", path: "images/0.a.npy", lake: lake), of: shard(0, source, lake))
    // As a kill leaves it between the row and the file.
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "UPDATE shard SET state = 'evicting'") }
    try lake.catalog.settleInterruptedShards()
    #expect(try shard(0, source, lake).state == .evicted)
    #expect(Disk.size(of: lake.catalog.layout.shards + "/images/0.a.npy") == nil)
  }

  @Test func newBytesAreANewRevisionAndTheOldOnesStayKnown() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 1)
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.recordFetched(bytes("first", path: "images/0.a.npy", lake: lake), of: shard(0, source, lake))
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    #expect(try shard(0, source, lake).state == .present)
    let second = try lake.catalog.recordFetched(
      bytes("second", path: "images/0.b.npy", lake: lake), of: shard(0, source, lake))
    #expect(second == 2)
    #expect(Disk.size(of: lake.catalog.layout.shards + "/images/0.a.npy") == nil)
    let back = try lake.catalog.recordFetched(
      bytes("first", path: "images/0.a.npy", lake: lake), of: shard(0, source, lake))
    #expect(back == 1)
    #expect(try shard(0, source, lake).revision?.digest == .of("first"))
  }

  @Test func aKilledRunIsSettled() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 2)
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    #expect(try lake.catalog.reserve(shard(1, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.recordFetched(bytes("first", path: "images/1.a.npy", lake: lake), of: shard(1, source, lake))
    try lake.catalog.evict(shard(1, source, lake))
    #expect(try lake.catalog.reserve(shard(1, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.settleInterruptedShards()
    #expect(try shard(0, source, lake).state == .registered)
    #expect(try shard(1, source, lake).state == .evicted)
    #expect(try lake.catalog.cachedByteCount() == 0)
  }

  @Test func aFailedRefreshKeepsTheBytes() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 1)
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.recordFetched(bytes("first", path: "images/0.a.npy", lake: lake), of: shard(0, source, lake))
    #expect(try lake.catalog.reserve(shard(0, source, lake), byteCount: 9, budget: nil))
    try lake.catalog.endFetch(shardID: shard(0, source, lake).id, as: .failed, error: "timed out")
    #expect(try shard(0, source, lake).state == .present)
    #expect(try shard(0, source, lake).lastError == "timed out")
  }

  @Test func aNameIsTakenOnce() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 1)
    let error = #expect(throws: TarnError.self) { try lake.addSource("images", count: 1) }
    #expect(error?.code == .conflict)
    for name in ["", ".x", "-x", "a/b", "a b", String(repeating: "x", count: 65), "ü"] {
      let error = #expect(throws: TarnError.self) { try lake.addSource(name, count: 1) }
      #expect(error?.code == .usage)
    }
  }
}

@Suite struct URLTemplateTests {
  @Test func itNumbersTheShards() throws {
    let template = try URLTemplate(parsing: "https://host/img_emb/img_emb_{ordinal:04}.npy")
    #expect(template.url(ordinal: 7) == "https://host/img_emb/img_emb_0007.npy")
    #expect(template.url(ordinal: 12345) == "https://host/img_emb/img_emb_12345.npy")
    #expect(try URLTemplate(parsing: "file:///x/{ordinal}").url(ordinal: 3) == "file:///x/3")
  }

  @Test(arguments: [
    "host/x.npy", "ftp://host/x", "https://user:secret@host/x", "https://host/{ordinal:4}", "https://host/{n}",
    "https://host/{ordinal",
    "https:///x", "file://host/x", "https://host/a b",
  ])
  func itRefusesWhatCannotBeFetched(text: String) {
    let error = #expect(throws: TarnError.self) { try URLTemplate(parsing: text) }
    #expect(error?.code == .usage)
    #expect(error?.description.contains("secret") == false)
  }

  @Test(arguments: [
    ("token=hidden", "token"), ("path=1&X-Amz-Signature=hidden&part=2", "x-amz-signature"), ("sig=hidden", "sig"),
    ("api_token=hidden", "api_token"), ("auth_token=hidden", "auth_token"), ("private_token=hidden", "private_token"),
    ("access_key=hidden", "access_key"), ("client_secret=hidden", "client_secret"), ("jwt=hidden", "jwt"),
    ("x-oss-signature=hidden", "x-oss-signature"), ("%74oken=hidden", "token"), ("%2574oken=hidden", "token"),
    ("TOKEN=hidden", "token"), ("what-nobody-thought-of=hidden", "what-nobody-thought-of"), ("hidden", "hidden"),
    ("path=x;token=hidden", "token"), ("file=https://h/x?sig=hidden", "file"), ("file=x%3Fsig%3Dhidden", "file"),
    ("sig=hidden{env:A}", "sig"), ("token\u{301}=hidden", "token\u{301}"),
  ])
  func itKeepsNothingThatMayBeASecret(query: String, item: String) throws {
    let url = "https://host/x.npy?\(query)"
    let error = #expect(throws: TarnError.self) { try URLTemplate.validate(url) }
    #expect(error?.code == .usage)
    #expect(error?.message.contains("'\(item)'") == true, "\(String(describing: error))")
    if item != "hidden" { #expect(error?.description.contains("hidden") == false) }
    #expect(!url.withoutSecrets.contains("hidden"))
    #expect(throws: Never.self) { try URLTemplate.validate(url, keeping: [item]) }
  }

  @Test(arguments: [
    "revision=main", "path=img_emb/0.npy", "download", "download=true", "path=a&&version=2", "", "token=",
    "sig={env:SIG}", "versionId=3sL4kqtJlcpXroDTDmJ%2BrmSpXd3dIbrHY",
  ])
  func itKeepsWhatIsKnownToBeHarmlessAndPlacesOfTheEnvironment(query: String) throws {
    let url = "https://host/{ordinal}.npy?\(query)"
    #expect(try URLTemplate(parsing: url).text == url)
    #expect(url.withoutSecrets == url)
  }

  @Test(arguments: [
    "https://user:hidden@host/x", "https://user:hidden@\u{301}host/x", "https://u\u{301}:hidden@host/x",
    "https:///user:hidden@host/x", "https://host\\user:hidden@host/x", "https://h\u{FC}st/x",
    "https://host/x#token=hidden",
    "https://host/x\u{7F}", "https://{env:HOST}/x",
  ])
  func itReadsScalarsAndNotCharacters(url: String) throws {
    let error = #expect(throws: TarnError.self) { try URLTemplate.validate(url) }
    #expect(error?.code == .usage)
    #expect(error?.description.contains("hidden") == false)
  }

  /// Whatever a name is and however it is written: what no list knows is refused, and
  /// its value shown nowhere.
  @Test func noWayToWriteANameShowsItsValue() throws {
    var random = SplitMix64(seed: 11)
    let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
    func name() -> String {
      (0..<Int.random(in: 1...12, using: &random)).map { _ in
        let letter = letters.randomElement(using: &random) ?? "a"
        guard Int.random(in: 0..<4, using: &random) == 0, let byte = letter.asciiValue else { return String(letter) }
        return "%" + String(byte, radix: 16, uppercase: Bool.random(using: &random))
      }.joined()
    }
    var refused = 0
    for _ in 0..<5_000 {
      let (first, second) = (name(), name())
      let separator = Bool.random(using: &random) ? "&" : ";"
      let url = "https://host/x.npy?path=a\(separator)\(first)=hidden\(separator)\(second)=1"
      let decoded = [first, second].map { ($0.removingPercentEncoding ?? $0).lowercased() }
      guard decoded.allSatisfy({ !AddressText.harmlessNames.contains($0) }) else { continue }
      refused += 1
      #expect(throws: TarnError.self) { try URLTemplate.validate(url) }
      #expect(!url.withoutSecrets.contains("hidden"))
      #expect(throws: Never.self) { try URLTemplate.validate(url, keeping: Set(decoded)) }
    }
    #expect(refused > 4_500)
  }

  @Test func aPlaceIsFilledInWhenItIsAsked() throws {
    let values = ["SIG": "a/b+c&d=", "EMPTY": ""]
    #expect(
      try EnvironmentPlace.filled("https://h/x?sig={env:SIG}&part=1") { values[$0] }
        == "https://h/x?sig=a/b%2Bc%26d=&part=1")
    for text in ["https://h/x?sig={env:OTHER}", "https://h/x?sig={env:EMPTY}", "https://h/{env:}", "https://h/{env:A"] {
      let error = #expect(throws: TarnError.self) { try EnvironmentPlace.filled(text) { values[$0] } }
      #expect(error?.code == .usage)
    }
  }

  @Test(arguments: [
    "https://h/..", "https://h/.x", "https://h/", "https://h/-x", "https://h/a%2fb", "https://h/a%5cb", "https://h/%00",
  ])
  func aRemoteNameCannotLeaveTheCache(url: String) {
    #expect(throws: TarnError.self) { try URLTemplate.fileName(of: url) }
  }
}
