// The files of codes that refine, as the catalog keeps them: recorded with their output or not
// at all, kept as long as it is needed, and gone with it.

import Base
import Catalog
import Foundation
import GRDB
import TestSupport
import Testing

@Suite struct RefineShardTests {
  /// A lake, and a version of two outputs that is building.
  private func lake() throws -> (TemporaryLake, CatalogFixture, IndexVersion) {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: images, "shard \(ordinal)") }
    let version = try fixture.plan("laion", fixture.train("clip", images), images, perOutput: 1)
    for output in 0..<2 { try fixture.encode(version, output: output) }
    return (lake, fixture, version)
  }

  private func refine(_ text: String, _ fixture: CatalogFixture) throws -> RefineShard {
    RefineShard(digest: try fixture.write(text, as: .refineShard), byteCount: text.utf8.count)
  }

  @Test func allOutputsOfAVersionAreRefinedOrNone() throws {
    let (lake, fixture, version) = try lake()
    try fixture.merge(version, output: 0, refine: refine("zero", fixture))
    #expect(throws: TarnError.self) { try fixture.merge(version, output: 1) }
    #expect(try lake.catalog.outputs(of: version).count == 1)
    try fixture.merge(version, output: 1, refine: refine("one", fixture))
    #expect(try lake.catalog.outputs(of: version).map { $0.refine?.byteCount } == [4, 3])
  }

  @Test func oneWithOtherBytesThanAreStoredIsRefused() throws {
    let (lake, fixture, version) = try lake()
    let good = try refine("zero", fixture)
    try fixture.merge(version, output: 0, refine: good)
    #expect(throws: TarnError.self) {
      try fixture.merge(version, output: 1, refine: RefineShard(digest: good.digest, byteCount: 5))
    }
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    for change in [
      "UPDATE output_shard SET refine_sha256 = NULL, refine_byte_count = NULL",
      "UPDATE stored_bytes SET state = 'deleting', deleting_at = 'now' WHERE kind = 'refine-shard'",
    ] { #expect(throws: DatabaseError.self) { try queue.write { try $0.execute(sql: change) } } }
  }

  @Test func theyAreGarbageWithTheirVersionAndNotBefore() throws {
    let (lake, fixture, version) = try lake()
    for (output, text) in ["zero", "one"].enumerated() {
      let file = try refine(text, fixture)
      try fixture.merge(version, output: output, refine: file)
      try Disk.link(
        lake.catalog.path(of: .refineShard, file.digest),
        lake.catalog.layout.refinePath(version.name, ordinal: output))
    }
    try fixture.seal(version)
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    // The fixture's training says nothing of what refines, and its document is told for that.
    let told = try lake.catalog.verify().damages.map(\.file.path)
    #expect(told.allSatisfy { $0 == lake.catalog.layout.documentPath(version.name) })
    let name = lake.catalog.layout.refinePath(version.name, ordinal: 1)
    try Disk.remove(name)
    let damage = try #require(try lake.catalog.verify().damages.first { $0.file.path == name })
    #expect(damage.problem == .missing)
    #expect(try lake.catalog.repair(damage) == .restored)
    #expect(try lake.catalog.verify().damages.map(\.file.path) == told)
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let all = GarbageOptions(grace: .zero)
    let gone = try lake.catalog.collect(lake.catalog.garbage(all), all)
    #expect(gone.filter { $0.kind == .refineShard }.count == 2)
    #expect(Disk.size(of: name) == nil)
    #expect(try lake.catalog.garbage(all).unknownFiles.isEmpty)
  }
}
