// Part files count, are listed, and can be given back: the bytes in `shards/` never
// exceed the budget, whatever ends a transfer early.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct PartTests {
  private static let shardByteCount = 100

  private func write(_ count: Int, to path: String) throws {
    try Data(repeating: 7, count: count).write(to: URL(fileURLWithPath: path))
  }

  /// Bytes of all files below the shards directory.
  private func byteCount(_ layout: LakeLayout) throws -> Int {
    try FileManager.default.subpathsOfDirectory(atPath: layout.shards).reduce(0) {
      $0 + (Disk.size(of: "\(layout.shards)/\($1)") ?? 0)
    }
  }

  @Test func aPartCountsUntilItsShardIsReservedOrItGoes() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 3, expectedByteCount: 100)
    let shards = try lake.catalog.shards(of: source)
    let part = lake.catalog.layout.partPath(source: "images", shard: "0.npy")
    try Disk.makeDirectory(part.parentPath)
    try write(60, to: part)
    try write(5, to: part + ".resume")
    try write(40, to: lake.catalog.layout.shards + "/images/stranger.npy.part")
    #expect(try lake.catalog.cachedByteCount() == 60)
    #expect(try !lake.catalog.reserve(shards[1], byteCount: 100, budget: 159))
    #expect(try lake.catalog.reserve(shards[1], byteCount: 100, budget: 160))
    #expect(try lake.catalog.cachedByteCount() == 160)
    try lake.catalog.endFetch(shardID: shards[1].id, as: nil, error: nil)
    // Its own part is a part of what is reserved.
    #expect(try lake.catalog.reserve(shards[0], byteCount: 100, budget: 100))
    try lake.catalog.endFetch(shardID: shards[0].id, as: .failed, error: "cut")
    #expect(try !lake.catalog.reserve(shards[1], byteCount: 100, budget: 159))
    let found = try lake.catalog.interruptedTransfers()
    #expect(found.map(\.shard) == ["0.npy"] && found.map(\.byteCount) == [60] && found[0].files.last == part)
    try lake.catalog.discard(found[0])
    #expect(try lake.catalog.interruptedTransfers().isEmpty)
    #expect(try lake.catalog.reserve(shards[1], byteCount: 100, budget: 100))
  }

  @Test func gcTakesWhatNobodyContinuedForLong() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 2)
    let layout = lake.catalog.layout
    let part = layout.partPath(source: "images", shard: "0.npy")
    try Disk.makeDirectory(part.parentPath)
    for ending in ["", ".resume", ".resume.tmp", ".import.tmp"] { try write(10, to: part + ending) }
    let young = try lake.catalog.garbage(GarbageOptions())
    #expect(young.parts.isEmpty && young.unknownFiles.isEmpty && young.byteCount == 0)
    let options = GarbageOptions(now: Date().addingTimeInterval(8 * 86400))
    let old = try lake.catalog.garbage(options)
    #expect(old.parts.count == 1 && old.byteCount == 20)
    try lake.catalog.collect(old, options)
    #expect(try byteCount(layout) == 0)
  }

  @Test func noOrderOfEventsExceedsTheBudget() throws {
    var random = SplitMix64(seed: 5)
    for round in 0..<6 {
      let lake = try TemporaryLake(inMemory: true)
      let fixture = CatalogFixture(lake.catalog)
      let count = 5
      let budget = 150 + 60 * round
      let source = try lake.addSource("images", count: count, expectedByteCount: Self.shardByteCount)
      let layout = lake.catalog.layout
      try Disk.makeDirectory(layout.shards + "/images")
      var active: Set<Int> = []
      var refusedCount = 0
      for step in 0..<80 {
        let ordinal = random.next(below: count)
        let shard = try lake.catalog.shards(of: source)[ordinal]
        let part = layout.partPath(source: "images", shard: shard.name)
        switch random.next(below: 5) {
        case 0, 1:
          guard !active.contains(ordinal), shard.state != .present else { continue }
          let isReserved = try lake.catalog.reserve(shard, byteCount: Self.shardByteCount, budget: budget)
          if isReserved { active.insert(ordinal) } else { refusedCount += 1 }
        case 2:
          guard active.contains(ordinal) else { continue }
          try write(random.next(below: Self.shardByteCount + 1), to: part)
          if random.next(below: 2) == 0 {
            try lake.catalog.endFetch(shardID: shard.id, as: nil, error: nil)
            active.remove(ordinal)
          }
        case 3:
          guard active.contains(ordinal) else { continue }
          try Disk.remove(part)
          let text = String(repeating: "x", count: 90) + "\(1000000000 + round * 100 + step)"
          let digest = ContentDigest.of(text)
          let path = LakeLayout.shardPath(source: "images", shard: shard.name, digest: digest)
          try Disk.writeAtomically(Array(text.utf8), to: layout.path(path, in: .shards))
          try lake.catalog.recordFetched(
            FetchedBytes(
              digest: digest, byteCount: text.utf8.count, rowCount: 1, path: path, mirrorID: nil, etag: nil,
              lastModified: nil), of: shard)
          active.remove(ordinal)
        default:
          guard !active.contains(ordinal) else { continue }
          if shard.state == .present {
            try fixture.catalog.evict(shard)
          } else if let left = try lake.catalog.interruptedTransfers().first(where: { $0.shardID == shard.id }) {
            try lake.catalog.discard(left)
          }
        }
        #expect(try byteCount(layout) <= budget, "round \(round), step \(step)")
        #expect(try lake.catalog.cachedByteCount() <= budget)
      }
      if round < 3 { #expect(refusedCount > 0) }
    }
  }
}
