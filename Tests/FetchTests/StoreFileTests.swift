// Objects that are written anew, moved, removed, and read into files.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct StoreFileTests {
  private let fake: FakeStore
  private let scratch: TemporaryDirectory

  init() throws {
    fake = try FakeStore()
    scratch = try TemporaryDirectory()
  }

  private func store(
    _ place: String = "s3://bucket/a", _ change: (inout FetchConfiguration) -> Void = { _ in }
  ) throws -> ObjectStore {
    var configuration = quickConfiguration()
    configuration.attemptsPerMirror = 1
    configuration.s3 = S3Settings(environment: fake.environment)
    change(&configuration)
    return try ObjectStore(place, configuration: configuration, patience: .zero, isCancelled: { false })
  }

  @Test func whatIsWrittenAnewIsRead() throws {
    let store = try store()
    for text in ["one", "two", ""] {
      try store.replace(Array(text.utf8), "note")
      #expect(fake.objects["a/note"] == Array(text.utf8))
    }
    // What the store gives back decides.
    try store.replace(Array("x".utf8), "note")
    #expect(try store.holds("note", .of("x")))
    fake.set("a/note", Array("y".utf8), digest: ContentDigest.of("x").hex)
    #expect(try !store.holds("note", .of("x")) && !store.holds("none", .of("x")))
  }

  @Test func whatIsMovedHasOneKey() throws {
    let store = try store("s3://bucket/some where")
    fake.set("some where/receipts/1.json", [1])
    fake.set("some where/refused/1.json", [2])
    try store.move("receipts/1.json", to: "refused/1.json")
    #expect(fake.objects == ["some where/refused/1.json": [1]])
    let error = #expect(throws: TarnError.self) { try store.move("receipts/1.json", to: "refused/1.json") }
    #expect(error?.code == .absent)
    try store.remove("refused/1.json")
    try store.remove("refused/1.json")
    #expect(fake.objects.isEmpty)
  }

  @Test func keysAreListedByWhatTheyAreHoweverThePlaceIsWritten() throws {
    let store = try store("s3://bucket/a%20b")
    _ = try store.put([1], "v@1/x.json")
    #expect(fake.objects.keys.first == "a b/v@1/x.json")
    #expect(try store.list() == ["v@1/"] && store.list("v@1/") == ["v@1/x.json"])
  }

  @Test func aListingWhosePagesComeAgainEnds() throws {
    let server = try HostileServer { request in
      let next = request.target.contains("continuation-token=one") ? "two" : "one"
      let body =
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        + "<NextContinuationToken>\(next)</NextContinuationToken></ListBucketResult>"
      return .answer(200, body: Array(body.utf8))
    }
    let environment = fake.environment.merging(["AWS_ENDPOINT_URL": server.url("")]) { $1 }
    let store = try store { $0.s3 = S3Settings(environment: environment) }
    let error = #expect(throws: TarnError.self) { try store.list() }
    #expect(error?.code == .integrity && error?.message.contains("has no end") == true)
    #expect(server.requests.count == 3)
  }

  /// A percent sign that is written as one stays one: in the place, and in keys.
  @Test func percentSignsAreDecodedOnce() throws {
    let store = try store("s3://bucket/a%2541")
    for key in ["x", "50%42"] { #expect(try store.put([1], key) == .written) }
    #expect(fake.objects.keys.sorted() == ["a%41/50%42", "a%41/x"])
    #expect(try store.list() == ["50%42", "x"])
    #expect(try store.contents("50%42", atMost: 9)?.bytes == [1])
  }

  /// A store answers before it has put the parts together, or copied, and then takes its time.
  @Test func r14WhoPutsAnObjectTogetherMayTakeItsTime() throws {
    let store = try store {
      $0.storePartByteCount = 1 << 10
      $0.watch.stallTimeout = .milliseconds(200)
    }
    let (bytes, path) = (makeShard(rows: 1_000), scratch.path + "/file")
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    fake.fail { _, request in request.hasPrefix("POST /bucket/a/x?uploadId=") ? .slow : nil }
    #expect(try store.put(file: path, "x", .of(bytes), statePath: scratch.path + "/state.json") == .written)
    fake.fail { _, request in request.hasPrefix("PUT /bucket/a/y") ? .slow : nil }
    try store.move("x", to: "y")
    #expect(fake.objects == ["a/y": bytes])
  }

  /// An upload in parts whose last answer was lost is one's own, though the store does not say of what bytes.
  @Test(arguments: [true, false]) func aLostAnswerMakesNobodyElsesObject(tellsDigests: Bool) throws {
    if !tellsDigests { fake.forgetDigests() }
    let store = try store {
      $0.storePartByteCount = 1 << 10
      $0.attemptsPerMirror = 2
    }
    let (bytes, path) = (makeShard(rows: 1_000), scratch.path + "/file")
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let isLost = Mutex(false)
    fake.fail { _, request in
      guard request.hasPrefix("POST /bucket/a/x?uploadId=") else { return nil }
      return isLost.withLock { isLost in
        defer { isLost = true }
        return isLost ? nil : .lost
      }
    }
    #expect(try store.put(file: path, "x", .of(bytes), statePath: scratch.path + "/state.json") == .written)
    #expect(isLost.withLock(\.self) && fake.objects == ["a/x": bytes])
    // One that somebody else wrote meanwhile leaves no parts behind, whatever it is.
    for (other, outcome) in [(bytes, ObjectStore.Outcome.written), (bytes.map { $0 ^ 1 }, .taken)] {
      fake.clear()
      fake.fail()
      fake.writing { request in
        request.hasPrefix("PUT /bucket/a/x?partNumber=1&") ? (key: "a/x", bytes: other) : nil
      }
      #expect(try store.put(file: path, "x", .of(bytes), statePath: scratch.path + "/state.json") == outcome)
      #expect(fake.openUploadCount == 0 && fake.objects == ["a/x": other])
    }
  }

  @Test func aFileGoesOnWhereItWas() throws {
    let store = try store()
    // More than one piece, and less than two.
    let bytes = makeShard(rows: 3 << 10, dimension: 3 << 10)
    let (digest, path) = (ContentDigest.of(bytes), scratch.path + "/file")
    #expect(bytes.count > 16 << 20 && bytes.count < 32 << 20)
    fake.set("a/x", bytes)
    fake.fail { number, _ in number == 1 ? .refused : nil }
    let cut = #expect(throws: TarnError.self) { try store.fetch("x", bytes.count, digest, to: path) }
    #expect(cut?.code == .temporary && Disk.size(of: path) == 16 << 20)
    fake.fail()
    try store.fetch("x", bytes.count, digest, to: path)
    #expect(fake.requests.count == 1)
    #expect(try Disk.digest(of: path) == digest)
    // What is there already is not asked for.
    try store.fetch("x", bytes.count, digest, to: path)
    #expect(fake.requests.count == 1)
  }

  @Test func whatWasHeldAndIsWrongIsFetchedAgain() throws {
    let store = try store()
    let (bytes, path) = (Array("0123456789".utf8), scratch.path + "/file")
    fake.set("a/x", bytes)
    for held in ["xxx", "0123456780", "01234567890123"] {
      try Data(held.utf8).write(to: URL(fileURLWithPath: path))
      try store.fetch("x", bytes.count, .of(bytes), to: path)
      #expect(try Disk.contents(of: path) == bytes, "\(held)")
    }
    for other in ["012345678x", "01234"] {
      fake.set("a/x", Array(other.utf8))
      try? FileManager.default.removeItem(atPath: path)
      let error = #expect(throws: TarnError.self) { try store.fetch("x", bytes.count, .of(bytes), to: path) }
      #expect(error?.code == .integrity, "\(other): \(String(describing: error))")
      #expect(error?.message.contains("s3://bucket/a/x") == true && Disk.size(of: path) == nil, "\(other)")
    }
    fake.set("a/x", nil)
    let error = #expect(throws: TarnError.self) { try store.fetch("x", bytes.count, .of(bytes), to: path) }
    #expect(error?.code == .absent)
    // Of nothing there is nothing to ask for but that.
    fake.set("a/nothing", [])
    try store.fetch("nothing", 0, .of(""), to: scratch.path + "/nothing")
    #expect(Disk.size(of: scratch.path + "/nothing") == 0)
  }
}
