// Versions of a source whose bytes changed between training and building, pushed and pulled:
// into a lake that knows nothing, and into one that knows what was published before.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct PublishedRevisionTests {
  /// A place with v@1, and with v@2: trained on the bytes that a shard had before, built from
  /// those that it has now.
  private struct Published {
    let lake: LakeFixture
    let place: String
    /// The shard's bytes before, and now.
    let before: [UInt8]
    let now: [UInt8]
    var directory: String { lake.directory.path + "/images" }

    init() throws {
      let shards = PairedShards([20, 20], seed: 7)
      lake = try shards.lake()
      place = lake.directory.path + "/place"
      before = shards.images[1]
      now = FeatureBytes.npy(24, dimension: PairedShards.dimension, seed: 99)
      let build = ["build", "v", "--trained", "c", "--images", "images", "--quiet"]
      try lake.succeed(["train", "c", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
      try lake.succeed(build)
      try lake.succeed(["push", "v@1", place, "--quiet"])
      try Data(now).write(to: URL(fileURLWithPath: directory + "/images_1.npy"))
      try lake.succeed(["sync", "images", "--refresh", "--keep-old", "--quiet"])
      try lake.succeed(build)
      try lake.succeed(["push", "v@2", place, "--quiet"])
    }

    /// A lake of somebody who pulls versions.
    func pulled(_ versions: String...) throws -> LakeFixture {
      let lake = try LakeFixture.make(.empty)
      for version in versions { try lake.succeed(pull(version)) }
      return lake
    }

    func pull(_ version: String) -> [String] { ["pull", place, version, "--allow-inside", "--patience", "0"] }

    /// Holds what was pulled against what was pushed.
    func expectSame(_ lake: LakeFixture, location: SourceLocation = #_sourceLocation) throws {
      let queries = lake.directory.path + "/queries.npy"
      try Data(FeatureBytes.npy(3, dimension: PairedShards.dimension, seed: 5)).write(
        to: URL(fileURLWithPath: queries))
      for arguments in [["export", "v@2"], ["search", "v@2", "--queries", queries]] {
        #expect(
          try lake.succeed(arguments).output == self.lake.succeed(arguments).output, "\(arguments)",
          sourceLocation: location)
      }
      try lake.succeed(["verify", "--quiet"])
    }
  }

  /// The digest of the bytes that the shard has, as a lake knows it.
  private func newest(_ lake: LakeFixture) throws -> String {
    try lake.text(
      """
      SELECT r.sha256 FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
      WHERE h.name = 'images_1.npy'
      """)
  }

  @Test func aNewLakeTakesIn() throws {
    let published = try Published()
    let lake = try published.pulled("v@2")
    try published.expectSame(lake)
    try lake.succeed(["doctor", "--quiet"])
    #expect(try newest(lake) == ContentDigest.of(published.now).hex)
    #expect(
      try lake.succeed(["reproduce", "v@2", "--fetch", "--patience", "0"]).outputText.contains("identical"))
    #expect(try !lake.succeed(["sync", "images"]).outputText.contains("new revision"))
    // What was published before is added, and is not what the shard has now.
    try lake.succeed(published.pull("v@1"))
    #expect(try newest(lake) == ContentDigest.of(published.now).hex)
    let old = lake.directory.path + "/images_1.npy"
    try Data(published.before).write(to: URL(fileURLWithPath: old))
    try lake.succeed(["import", "images", old, "--keep-old"])
    for version in ["v@1", "v@2"] {
      #expect(try lake.succeed(["reproduce", version]).outputText.contains("identical"), "\(version)")
    }
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    let rebuilt = try lake.succeed(["rebuild-catalog", "--allow-inside"])
    #expect(!rebuilt.outputText.contains("left out"), "\(rebuilt.outputText)")
    try published.expectSame(lake)
  }

  @Test func aLakeWithTheVersionBeforeTakesIn() throws {
    let published = try Published()
    let lake = try published.pulled("v@1", "v@2")
    try published.expectSame(lake)
    // The publisher's shards have what the later version was built from, and that is what mirrors give.
    #expect(try newest(lake) == ContentDigest.of(published.now).hex)
    #expect(try !lake.succeed(["sync", "images"]).outputText.contains("new revision"))
    #expect(try lake.succeed(["reproduce", "v@2"]).outputText.contains("identical"))
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func bytesThatWereHereStayTheNewest() throws {
    let published = try Published()
    try Data(published.before).write(to: URL(fileURLWithPath: published.directory + "/images_1.npy"))
    let lake = try published.pulled("v@1")
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(published.pull("v@2"))
    #expect(try newest(lake) == ContentDigest.of(published.before).hex)
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    try published.expectSame(lake)
    // Either is taken from now on.
    try Data(published.now).write(to: URL(fileURLWithPath: published.directory + "/images_1.npy"))
    try lake.succeed(["sync", "images", "--refresh", "--keep-old", "--quiet"])
    try lake.succeed(["reproduce", "v@2", "--quiet"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }

  @Test func aListOfThisLakeIsNotOverruled() throws {
    let published = try Published()
    let lake = try LakeFixture.make(.empty)
    let list = lake.directory.path + "/SHA256SUMS"
    let first = try Disk.digest(of: published.directory + "/images_0.npy").hex
    let lines = "\(first)  images_0.npy\n\(ContentDigest.of(published.before).hex)  images_1.npy\n"
    try lines.write(toFile: list, atomically: true, encoding: .utf8)
    try lake.succeed(["source", "add", "images", "--directory", published.directory, "--sha256", list])
    try lake.succeed(published.pull("v@1"))
    let refused = try lake.run(published.pull("v@2"))
    #expect(refused.ending == .exit(64) && refused.errorText.contains("images_1.npy"), "\(refused.errorText)")
    #expect(try lake.texts("SELECT version FROM v_version") == ["v@1"])
  }
}
