// Packs that nothing needs, and those that hold an excluded row: what `gc` takes is what the
// view says, though it is asked otherwise.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct PackGarbageTests {
  private let options = GarbageOptions(grace: .zero, includesSegments: true, now: Date().addingTimeInterval(60))

  /// What the view says, in its order.
  private func seen(_ lake: TemporaryLake) throws -> [String] {
    try lake.rows("SELECT kind || ' ' || sha256 || ' ' || bytes || ' ' || path || ' ' || unused_since FROM v_garbage")
      .sorted()
  }

  /// What the plan says.
  private func planned(_ lake: TemporaryLake) throws -> [String] {
    let plan = try lake.catalog.garbage(options)
    return (plan.due + plan.waiting).map {
      "\($0.kind.rawValue) \($0.digest.hex) \($0.byteCount) \($0.path) \($0.unusedSince)"
    }.sorted()
  }

  private func kinds(_ items: [String]) -> [String: Int] {
    Dictionary(items.map { (String($0.prefix { $0 != " " }), 1) }, uniquingKeysWith: +)
  }

  @Test func packsThatGoAreThoseOfTheView() throws {
    let lake = try TemporaryLake(inMemory: true)
    let catalog = lake.catalog
    let fixture = CatalogFixture(catalog)
    let images = try fixture.source("images", count: 6)
    for ordinal in 0..<6 { try fixture.fetch(ordinal, of: images, "image \(ordinal)") }
    let version = try fixture.build("laion", fixture.train("clip", images), images)
    // Two companions; of the second no version takes anything, as its rows are others.
    let meta = try fixture.companion("meta", of: images, count: 6)
    let texts = try fixture.companion("texts", of: images, count: 6)
    func pack(_ shard: Shard, without: [Int] = [], columns: [String]? = nil) throws {
      let revision = try #require(shard.revision)
      let text = "pack of \(revision.digest.hex) \(without) \(columns ?? [])"
      try catalog.record(
        Pack(
          companion: revision.digest, digest: fixture.write(text, as: .pack), rowCount: revision.rowCount,
          columns: columns, without: without, formatVersion: 2), byteCount: text.utf8.count)
    }
    for ordinal in 0..<6 {
      try pack(fixture.fetch(ordinal, of: meta, "meta \(ordinal)"))
      try pack(fixture.fetch(ordinal, of: texts, "text \(ordinal)", rowCount: 4))
    }
    // Segments alone: those of a sealed version are nobody's.
    #expect(try kinds(seen(lake)) == ["segment": 6] && planned(lake) == seen(lake))
    // Bytes that a version has, and bytes that nobody has.
    try pack(fixture.fetch(0, of: meta, "meta 0, again"))
    try pack(fixture.fetch(1, of: texts, "text 1, again", rowCount: 4))
    #expect(try kinds(seen(lake)) == ["segment": 6, "pack": 1] && planned(lake) == seen(lake))
    // Rows that are excluded, one of them taken back, one that a pack has not, one beyond the rows of a pack.
    let revisions = try catalog.shards(of: images).compactMap(\.revision)
    func list(_ kind: ExclusionKind, _ rows: [(ordinal: Int, row: Int)]) throws {
      let rows = rows.map { ShardRows(revision: revisions[$0.ordinal], rows: [$0.row]) }
      _ = try catalog.addExclusions(kind, rows, of: images, reason: "a test")
    }
    try list(.exclude, [(2, 1), (3, 2), (4, 4), (5, 0)])
    try list(.readmit, [(3, 2)])
    try pack(try catalog.shards(of: meta)[2], without: [1])
    try pack(try catalog.shards(of: meta)[5], without: [3])
    try pack(try catalog.shards(of: meta)[5], columns: ["url"])
    let before = try seen(lake)
    #expect(kinds(before)["pack"] == 8, "\(before)")
    #expect(try planned(lake) == before)
    _ = try catalog.revoke(version.name, reason: "a test")
    let all = try seen(lake)
    #expect(all.count > before.count && kinds(all)["pack"] == 9, "\(all)")
    #expect(try planned(lake) == all)
    // They go, and nothing else does.
    let gone = try catalog.collect(catalog.garbage(options), options)
    #expect(gone.count == all.count && gone.count(where: { $0.kind == .pack }) == 9)
    #expect(try seen(lake).isEmpty && planned(lake).isEmpty)
    #expect(try catalog.packs(of: .of("meta 1"), formatVersions: 2...2).count == 1)
  }
}
