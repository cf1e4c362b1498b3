// What is asked of a companion's shards by their places.

import Base
import Catalog
import Testing
import TestSupport

@Suite struct CompanionLookupTests {
  @Test func shardsAtSomePlacesAreThoseOfAllAtThese() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 4)
    for ordinal in 0..<4 { try fixture.fetch(ordinal, of: images, "image \(ordinal)") }
    // The last two stand beside nothing.
    let meta = try fixture.companion("meta", of: images, count: 6)
    let rowCounts = [0: 5, 2: 6, 3: 4, 5: 5]
    for (ordinal, rowCount) in rowCounts {
      try fixture.fetch(ordinal, of: meta, "meta \(ordinal)", rowCount: rowCount)
    }
    let (shards, faults) = (try lake.catalog.shards(of: meta), try lake.catalog.misaligned(of: meta))
    #expect(faults.map(\.shard) == ["2.jsonl", "3.jsonl", "5.jsonl"])
    for places in [[], [0], [1, 2, 9], [3, 5], Set(0..<6)] as [Set<Int>] {
      #expect(
        try lake.catalog.shards(of: meta, at: places).map(\.id)
          == shards.filter { places.contains($0.ordinal) }.map(\.id), "\(places)")
      let names = Set(places.map { "\($0).jsonl" })
      #expect(
        try lake.catalog.misaligned(of: meta, ordinals: places) == faults.filter { names.contains($0.shard) },
        "\(places)")
    }
  }

  /// What names say is kept from one look to the next, and no longer than they are the same.
  @Test func whatStandsElsewhereIsToldWhenTheOwnerHasGrown() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    let meta = try fixture.companion("meta", of: images, count: 4)
    for _ in 0..<2 { #expect(try lake.catalog.strays(of: meta).isEmpty) }
    try lake.catalog.extend(images, with: [.init(name: "3.npy", urls: ["http://localhost/3.npy"])], after: 2)
    for _ in 0..<2 { #expect(try lake.catalog.strays(of: meta).keys.sorted() == [2, 3]) }
  }
}
