import Base
import Catalog
import Foundation
import TestSupport
import Testing

/// Questions about many rows are asked once.
@Suite struct BulkTests {
  @Test func manyRowIDsAreLocatedAtOnce() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 3)
    for ordinal in [0, 2] { try fixture.fetch(ordinal, of: images, "shard \(ordinal)") }
    let version = try fixture.build("laion", fixture.train("clip", images), images)
    // Shard 1 was never fetched and is no input: its ids, 5 to 9, are nobody's.
    let ids: [Int64] = [14, 0, 4, 5, 9, 10, 0, 15, -1, 10_000_000_000]
    let places = try lake.catalog.locate(ids, in: version)
    #expect(places.map { $0?.id } == [14, 0, 4, nil, nil, 10, 0, nil, nil, nil])
    #expect(places.map { $0?.shardOrdinal } == [2, 0, 0, nil, nil, 2, 0, nil, nil, nil])
    #expect(places.map { $0?.row } == [4, 0, 4, nil, nil, 0, 0, nil, nil, nil])
    #expect(places[0]?.revision?.digest == .of("shard 2"))
    #expect(places[0]?.source == "images" && places[0]?.url == "http://localhost/2.npy")
    #expect(try lake.catalog.locate([], in: version).isEmpty)
  }

  @Test func theSegmentsOfASourceAreFoundAtOnce() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 3)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: images, "shard \(ordinal)") }
    let clip = try fixture.train("clip", images)
    let version = try fixture.plan("laion", clip, images, perOutput: 1)
    try fixture.encode(version, output: 0)
    let trained = try #require(clip.digest)
    func segments() throws -> [ContentDigest: StoredSegment] {
      try lake.catalog.segments(of: images, trained: trained, badRows: .fail, formatVersion: 1)
    }
    let found = try segments()
    #expect(Set(found.keys) == [.of("shard 0")])
    let segment = try #require(found[.of("shard 0")])
    #expect(Disk.size(of: lake.catalog.layout.path(segment.path, in: .artifacts)) == segment.byteCount)
    // An older revision keeps its segment; one that was given up is not there.
    try fixture.fetch(0, of: images, "shard 0, revised")
    #expect(try segments().count == 1)
    try fixture.merge(version, output: 0)
    let options = GarbageOptions(grace: .zero, includesSegments: true, now: Date().addingTimeInterval(60))
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    #expect(try segments().isEmpty)
  }
}
