// Two syncs of one lake: beside each other, within one budget, and one of them dead.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct TwoWriterTests {
  private static let shardCount = 6

  /// A lake with two sources on one server that nobody has open, and the bytes of a shard.
  private func lake() throws -> (directory: TemporaryDirectory, root: String, server: HostileServer, byteCount: Int) {
    let directory = try TemporaryDirectory()
    let root = directory.path + "/lake"
    let catalog = try LakeCatalog.create(root: root, shards: "shards", artifacts: "artifacts")
    let bytes = ["a", "b"].map { name in
      (0..<Self.shardCount).map { makeShard(rows: 400, seed: UInt64(name == "a" ? $0 : 100 + $0)) }
    }
    let served = bytes
    let server = try HostileServer { request in
      let parts = request.target.split(separator: "/")
      guard parts.count == 2, let ordinal = Int(parts[1].prefix { $0 != "." }) else { return .answer(404) }
      return .file(served[parts[0] == "a" ? 0 : 1][ordinal], for: request)
    }
    for name in ["a", "b"] {
      _ = try catalog.addSource(
        SourceDefinition(
          name: name, modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
          shards: (0..<Self.shardCount).map {
            .init(
              name: "\($0).npy", urls: [server.url("/\(name)/\($0).npy")], expectedByteCount: served[0][0].count)
          }))
    }
    return (directory, root, server, served[0][0].count)
  }

  private func sync(
    _ source: String, in root: String, budget: Int?, wait: Duration = .seconds(86_400)
  ) async throws -> SyncSummary {
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.sources = [source]
    options.budget = budget
    // A thread of the sync before may have a reference to its catalog yet.
    let catalog = try LakeCatalog.open(root: root, command: "sync \(source)", wait: wait, leasing: options.leases)
    try catalog.settleInterruptedShards()
    return try await SyncRun(catalog, options, cancellation: Cancellation()) { _ in }.run()
  }

  @Test func d7TwoSyncsGoOnTogetherWithinOneBudget() async throws {
    let (directory, root, server, byteCount) = try lake()
    defer { withExtendedLifetime((directory, server)) {} }
    let budget = 7 * byteCount + byteCount / 2
    async let first = sync("a", in: root, budget: budget)
    async let second = sync("b", in: root, budget: budget)
    let summaries = try await [first, second]
    #expect(summaries.map(\.fetchedCount).reduce(0, +) == 7)
    #expect(summaries.map(\.withoutRoom.count).reduce(0, +) == 5)
    #expect(summaries.allSatisfy { $0.failures.isEmpty })
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    #expect(try catalog.cachedByteCount() == 7 * byteCount)
    #expect(try catalog.firstBrokenEvent() == nil)
    #expect(try catalog.wrongTotals() == [])
  }

  @Test func d7TwoSyncsOfOneSourceDoNot() async throws {
    let (directory, root, server, _) = try lake()
    defer { withExtendedLifetime((directory, server)) {} }
    let held = try LakeCatalog.open(root: root, command: "sync a") { _ in [Lease(.source, "a", .add)] }
    await #expect {
      _ = try await sync("a", in: root, budget: nil, wait: .zero)
    } throws: { ($0 as? TarnError)?.code == .locked }
    withExtendedLifetime(held) {}
    #expect(server.requests.isEmpty)
  }

  @Test func d14WhatALivingSyncHasUnderWayIsLeftAlone() async throws {
    let (directory, root, server, byteCount) = try lake()
    defer { withExtendedLifetime((directory, server)) {} }
    var first: LakeCatalog? = try LakeCatalog.open(root: root, command: "sync a") { _ in [Lease(.source, "a", .add)] }
    let shard = try #require(try first.map { try $0.shards(of: $0.source(named: "a"))[0] })
    let part = LakeLayout(root: root).partPath(source: "a", shard: shard.name)
    try Disk.makeDirectory(part.parentPath)
    try Disk.writeAtomically([1, 2, 3], to: part)
    #expect(try first?.reserve(shard, byteCount: byteCount, budget: nil) == true)
    // Its reservation counts, and stays.
    let beside = try await sync("b", in: root, budget: 4 * byteCount)
    #expect(beside.fetchedCount == 3)
    #expect(try first?.shard(id: shard.id).state == .fetching)
    #expect(Disk.size(of: part) == 3)
    // It is gone, and so is what it had reserved; its part stays for who goes on.
    first = nil
    let after = try await sync("b", in: root, budget: 4 * byteCount + 3)
    #expect(after.fetchedCount == 1)
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    #expect(try catalog.shard(id: shard.id).state == .registered)
    #expect(Disk.size(of: part) == 3)
  }
}
