// Numbers that others chose, in every place that they come in by: no sum
// overflows, and a bad one holds up nothing but its own shard.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct ForeignNumberTests {
  @Test func sumsEndAtTheLargestNumber() {
    #expect([Int.max, 1].saturatedSum == .max)
    #expect([1, 2, 3].saturatedSum == 6)
    #expect([Int.min, -1].saturatedSum == .min)
    #expect([Int]().saturatedSum == 0)
  }

  @Test func whatPassesTheDoorCanBeSummed() {
    // A lake of as many shards as may be registered, all as large as may be.
    let (_, overflows) = ForeignNumber.mostBytesOfASource.multipliedReportingOverflow(by: 4)
    #expect(!overflows)
    #expect(!ForeignNumber.byteCount.holds(0) && !ForeignNumber.byteCount.holds(999_999_999_999_999_999))
    #expect(ForeignNumber.rowCount.holds(0) && !ForeignNumber.rowCount.holds(-1))
    let error = #expect(throws: TarnError.self) { try ForeignNumber.byteCount.check(-5, "a size", in: "sizes.txt") }
    #expect(error?.code == .usage && error?.message == "sizes.txt: -5 cannot be a size")
  }

  @Test(arguments: [
    "999999999999999999", "9223372036854775807", "9223372036854775808", "-1", "0", "1e3", "281474976710657",
  ])
  func aListOfSizesIsReadThroughIt(number: String) throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/sizes.txt"
    try Data("a.npy, \(number)\n".utf8).write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: TarnError.self) {
      try Manifest.sizes(path: path, of: ShardPlaces(names: ["a.npy"], urls: [["https://host/a.npy"]]))
    }
    #expect(error?.code == .usage && error?.message.contains(path) == true)
    try Data("a.npy, 100, \(number == "0" ? "-1" : number)\n".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: TarnError.self) {
      try Manifest.sizes(path: path, of: ShardPlaces(names: ["a.npy"], urls: [["https://host/a.npy"]]))
    }
    let tree = directory.path + "/tree.json"
    try Data("[{\"type\":\"file\",\"path\":\"x/a.npy\",\"size\":\(number)}]".utf8).write(to: URL(fileURLWithPath: tree))
    if number != "1e3" {
      #expect(throws: TarnError.self) {
        try HuggingFaceTree(path: tree, of: ShardPlaces(names: ["a.npy"], urls: [["https://host/a.npy"]]))
      }
    }
  }

  @Test func sizesWhoseSumNoStorageHasAreRefused() throws {
    let lake = try TemporaryLake()
    let error = #expect(throws: TarnError.self) {
      try lake.addSource("huge", count: 5_000, expectedByteCount: 1 << 48)
    }
    #expect(error?.code == .usage)
    #expect(try lake.catalog.sources().isEmpty)
    _ = try lake.addSource("large", count: 4_000, expectedByteCount: 1 << 48)
    #expect(try lake.rows("SELECT known_bytes FROM v_source") == ["\(4_000 << 48)"])
  }
}

@Suite struct HostileSizeTests {
  let lake: TemporaryLake
  let shard = makeShard(rows: 50)

  init() throws { lake = try TemporaryLake() }

  private func source(_ name: String, _ server: HostileServer, count: Int) throws -> Source {
    try lake.catalog.addSource(
      SourceDefinition(
        name: name, modality: .image, dimension: 4, elementType: .float16, mirrors: ["mirror"],
        shards: (0..<count).map { .init(name: "\($0).npy", urls: [server.url("/\(name)/\($0).npy")]) }))
  }

  private func sync(budget: Int? = nil) async throws -> SyncSummary {
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.budget = budget
    return try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
  }

  private func probe(_ source: Source) async throws {
    _ = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 4, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
  }

  /// A source whose server claims a size for every shard, and one that is honest.
  private func sources(claiming size: Int) throws -> (bad: Source, good: Source, server: HostileServer) {
    let server = try HostileServer { [shard] request in
      guard request.target.hasPrefix("/bad/") else { return .file(shard, for: request) }
      return .answer(
        200, headers: ["Content-Length: \(size)"], framing: .none, then: request.method == "HEAD" ? nil : .close)
    }
    return (try source("bad", server, count: 15), try source("good", server, count: 2), server)
  }

  @Test(arguments: [999_999_999_999_999_999, 1 << 48, 1 << 40]) func aClaimedSizeHoldsUpNoOtherSource(size: Int)
    async throws
  {
    let (bad, good, server) = try sources(claiming: size)
    defer { server.stop() }
    try await probe(bad)
    try await probe(good)
    _ = try lake.catalog.coverage(of: bad)
    let plan = try SyncPlan(lake.catalog, SyncOptions())
    #expect(plan.shards.count == 17)
    let isBelieved = ForeignNumber.byteCount.holds(size)
    #expect(plan.unknownSizeCount == (isBelieved ? 0 : 15))
    for budget in [1 << 20, nil] {
      let summary = try await sync(budget: budget)
      #expect(summary.fetchedCount == (budget == nil ? 0 : 2))
      #expect(summary.failures.count + summary.withoutRoom.count == 15)
      #expect(isBelieved == (summary.withoutRoom.count == 15))
    }
    #expect(try lake.rows("SELECT present FROM v_source WHERE source = 'good'") == ["2"])
  }

  @Test func sizesThatAnOlderTarnBelievedHoldUpNothing() async throws {
    let (bad, _, server) = try sources(claiming: 1)
    defer { server.stop() }
    let records = try lake.catalog.shards(of: bad).map { shard in
      ProbeRecord(
        shardID: shard.id, mirrorID: try lake.catalog.locations(of: shard.id)[0].mirrorID, state: .present,
        byteCount: 999_999_999_999_999_999)
    }
    try lake.catalog.recordProbes(records)
    #expect(try lake.catalog.shards(of: bad).allSatisfy { $0.likelyByteCount == nil })
    // The sum is beyond whole numbers, and is told nevertheless.
    #expect(try lake.catalog.coverage(of: bad)[0].byteCount ?? 0 > 1 << 62)
    let summary = try await sync()
    #expect(summary.fetchedCount == 2)
    #expect(summary.failures.count == 15)
  }

  @Test func aBodyThatClaimsMoreThanTheDiskHasIsLeftOutAlone() async throws {
    // A header and a length that agree, on more bytes than there are.
    let rows = 1 << 44
    var text = "{'descr': '<f2', 'fortran_order': False, 'shape': (\(rows), 4), }"
    text += String(repeating: " ", count: 117 - text.utf8.count) + "\n"
    let start = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, 118, 0] + Array(text.utf8)
    let server = try HostileServer { [shard] request in
      guard request.target.hasPrefix("/bad/") else { return .file(shard, for: request) }
      return .answer(
        200, body: start + [UInt8](repeating: 0, count: 1 << 20), framing: .length(128 + 8 * rows), then: .stall)
    }
    defer { server.stop() }
    _ = try source("bad", server, count: 3)
    _ = try source("good", server, count: 2)
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(summary.fetchedCount == 2)
    #expect(summary.withoutRoom.count == 3)
  }

  @Test func aShardWithoutASizeHoldsUpNoBudget() async throws {
    let server = try HostileServer { [shard] request in
      guard request.target.hasPrefix("/bad/") else { return .file(shard, for: request) }
      return .answer(503)
    }
    defer { server.stop() }
    _ = try source("bad", server, count: 3)
    try await probe(source("good", server, count: 2))
    let summary = try await sync(budget: 1 << 20)
    #expect(summary.fetchedCount == 2)
    #expect(summary.failures.map(\.error.code) == [.usage, .usage, .usage])
  }
}
