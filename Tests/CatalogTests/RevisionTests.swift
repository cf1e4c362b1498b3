import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct RevisionTests {
  @Test func bytesOnWhichSomethingRestsAreNotReplaced() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let source = try fixture.source("images", count: 2)
    try fixture.fetch(0, of: source, "zero")
    try fixture.fetch(1, of: source, "one")
    let trained = try fixture.train("clip", source)
    let version = try fixture.build("laion", trained, source)
    let shard = try lake.catalog.shards(of: source)[0]
    #expect(try lake.catalog.dependents(of: shard) == ["laion@1", "the trained index clip"])
    let error = #expect(throws: TarnError.self) {
      try fixture.fetch(0, of: source, "other", replacing: .ofUnpinned)
    }
    #expect(error?.code == .conflict && error?.message.contains("laion@1") == true)
    #expect(try lake.catalog.shards(of: source)[0].revision?.digest == .of("zero"))
    try lake.catalog.endFetch(shardID: shard.id, as: nil, error: nil)
    _ = try lake.catalog.revoke(version.name, reason: "test")
    #expect(try lake.catalog.dependents(of: shard) == ["the trained index clip"])
  }

  /// A shard that has other bytes by now, and one that still has the old ones, on which something rests as the first's.
  private func sharedLake() throws -> (lake: TemporaryLake, fixture: CatalogFixture, same: Source) {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let (images, same) = (try fixture.source("images", count: 1), try fixture.source("same", count: 1))
    for source in [images, same] { try fixture.fetch(0, of: source, "shared") }
    try fixture.build("laion", fixture.train("clip", images), images)
    try fixture.fetch(0, of: images, "newer", replacing: .keepingOld)
    // The other shard has them: nothing is to be kept.
    #expect(try lake.catalog.keptRevisions().isEmpty)
    return (lake, fixture, same)
  }

  @Test(arguments: [nil, Replacement.ofUnpinned, .always])
  func olderBytesStayWhenTheOtherShardLetsGo(replacement: Replacement?) throws {
    let (lake, fixture, same) = try sharedLake()
    if let replacement {
      try fixture.fetch(0, of: same, "others", replacing: replacement)
    } else {
      try lake.catalog.evict(lake.catalog.shards(of: same)[0])
    }
    let kept = try lake.catalog.keptRevisions()
    #expect(kept.map(\.digest) == [.of("shared")] && kept.map(\.sourceName) == ["images"])
    #expect(kept.first?.dependents == ["laion@1", "the trained index clip"] && kept.first?.unusedSince == nil)
    let path = try #require(try lake.catalog.shardPath(holding: .of("shared")))
    #expect(Disk.size(of: lake.catalog.layout.shards + "/" + path) == 6)
    let options = GarbageOptions(grace: .zero)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    #expect(try lake.catalog.shardPath(holding: .of("shared")) != nil)
    #expect(try lake.catalog.verify().damages.isEmpty && lake.catalog.wrongTotals().isEmpty)
    // They are that shard's newest again, and nobody's older ones, when it gets them again.
    try fixture.fetch(0, of: same, "shared")
    #expect(try lake.catalog.keptRevisions().isEmpty)
    // Who lets go of them on purpose does.
    try lake.catalog.evict(lake.catalog.shards(of: same)[0])
    try lake.catalog.release(#require(try lake.catalog.keptRevisions().first))
    #expect(try lake.catalog.shardPath(holding: .of("shared")) == nil)
  }

  @Test func damagedBytesAreKeptForNobody() throws {
    let (lake, _, _) = try sharedLake()
    let path = try #require(try lake.catalog.shardPath(holding: .of("shared")))
    try Disk.writeAtomically(Array("rotten".utf8), to: lake.catalog.layout.shards + "/" + path)
    let damages = try lake.catalog.verify().damages
    #expect(damages.count == 1)
    for damage in damages { #expect(try lake.catalog.repair(damage) == .givenUp) }
    #expect(try lake.catalog.shardPath(holding: .of("shared")) == nil && lake.catalog.keptRevisions().isEmpty)
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func keptBytesOfTwoShardsAreListedOnce() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let source = try fixture.source("images", count: 2)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: source, "same") }
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: source, "other \(ordinal)", replacing: .keepingOld) }
    let kept = try lake.catalog.keptRevisions()
    #expect(kept.map(\.digest) == [.of("same")] && kept.first?.unusedSince != nil)
    #expect(try lake.catalog.keptRevisions(of: fixture.source("others", count: 1)).isEmpty)
  }

  /// Whatever happens in whatever order, the files are those of the rows, the budget
  /// counts them, and bytes that were to be kept are there until somebody lets them go.
  @Test(arguments: 0..<12) func everyOrderOfEventsKeepsWhatItSays(seed: UInt64) throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let source = try fixture.source("images", count: 3)
    var random = SplitMix64(seed: 4000 + seed)
    var current: [Int: String] = [:]
    var kept: Set<String> = []
    for _ in 0..<60 {
      let ordinal = random.next(below: 3)
      switch random.next(below: 8) {
      case 0..<5:
        // Texts of a shard alone, so that no other has the same bytes.
        let text = "bytes \(ordinal) \(random.next(below: 3))"
        let keeps = random.next(below: 2) == 0
        try fixture.fetch(ordinal, of: source, text, replacing: keeps ? .keepingOld : .ofUnpinned)
        if keeps, let old = current[ordinal], old != text { kept.insert(old) }
        kept.remove(text)
        current[ordinal] = text
      case 5:
        try lake.catalog.evict(lake.catalog.shards(of: source)[ordinal])
        current[ordinal] = nil
      case 6:
        guard let revision = try lake.catalog.keptRevisions(of: source).first else { continue }
        try lake.catalog.release(revision)
        kept = kept.filter { ContentDigest.of($0) != revision.digest }
      default:
        let options = GarbageOptions(grace: random.next(below: 4) == 0 ? .zero : .seconds(3600))
        try lake.catalog.collect(lake.catalog.garbage(options), options)
        if options.grace == .zero { kept = [] }
      }
      let expected = Set(current.values).union(kept)
      let files = try FileManager.default.subpathsOfDirectory(atPath: lake.catalog.layout.shards).filter {
        $0.hasSuffix(".npy")
      }
      let found = try files.map { try String(contentsOfFile: lake.catalog.layout.shards + "/" + $0, encoding: .utf8) }
      #expect(Set(found) == expected && found.count == expected.count)
      #expect(try lake.catalog.cachedByteCount() == expected.reduce(0) { $0 + $1.utf8.count })
      #expect(Set(try lake.catalog.keptRevisions().map(\.digest)) == Set(kept.map { ContentDigest.of($0) }))
      #expect(try lake.catalog.unknownFiles().isEmpty && lake.catalog.wrongTotals().isEmpty)
      #expect(try lake.catalog.verify().damages.isEmpty)
    }
  }
}
