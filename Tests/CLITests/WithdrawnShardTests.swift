// Shards that their mirrors have no more: a job that runs every night ends well with what
// is here, and has a way on where it is not.

import Foundation
import Testing
import TestSupport

@Suite struct WithdrawnShardTests {
  private static let shards = PairedShards([40, 40, 40], seed: 15)

  private func path(_ lake: LakeFixture) -> String { lake.directory.path + "/images/images_1.npy" }

  /// A lake with a version of three shards, of which the second is gone from its directory since.
  private func lake() throws -> LakeFixture {
    let lake = try Self.shards.lake()
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    try FileManager.default.removeItem(atPath: path(lake))
    return lake
  }

  @Test func whatIsHereAndWithdrawnIsNamedAndNoFailure() throws {
    let lake = try lake()
    // With patience there is a last round, which is nothing to tell either.
    for options in [["--patience", "0"], ["--patience", "1s"]] {
      let said = try lake.succeed(["sync", "images", "--refresh"] + options)
      #expect(
        said.outputText == "0 shards fetched (0 B), 3 were here already, 0 failed\n"
          + "images/images_1.npy is on no mirror any more and stays in the lake\n")
      #expect(!said.errorText.contains("images_1.npy"), "\(said.errorText)")
    }
    let json = try lake.succeed(["sync", "--refresh", "--json"]).outputText
    #expect(json.contains(#""shard":"images_1.npy","source":"images","type":"withdrawn""#), "\(json)")
    #expect(json.contains(#""failed":0"#) && json.contains(#""withdrawn":1"#), "\(json)")
    let told = try lake.texts("SELECT shard || ' ' || state FROM v_shard WHERE last_error IS NOT NULL")
    #expect(told == ["images_1.npy present"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    // Once it is back nothing is left of it.
    try Data(Self.shards.images[1]).write(to: URL(fileURLWithPath: path(lake)))
    #expect(!(try lake.succeed(["sync", "--refresh"]).outputText.contains("images_1.npy")))
    #expect(try lake.texts("SELECT shard FROM v_shard WHERE last_error IS NOT NULL").isEmpty)
  }

  /// Of a shard that nobody ever had there is no size, and none is wanted to pass over it.
  @Test func whatNobodyEverHadIsPassedOverWithinABudgetToo() throws {
    let lake = try Self.shards.lake(synced: false)
    try FileManager.default.removeItem(atPath: path(lake))
    let size = Self.shards.images[0].count
    // What is here already may be more than the budget: what is nowhere takes none of it.
    for budget in [2 * size + 10, 2 * size + 10, size] {
      let within = ["sync", "images", "--missing", "skip", "--budget", "\(budget)"]
      let said = try lake.succeed(within).outputText
      #expect(said.hasSuffix("\nimages/images_1.npy is on no mirror: passed over\n"), "\(said)")
    }
    let failed = try lake.run(["sync", "images", "--budget", "\(2 * size + 10)", "--quiet"])
    #expect(failed.ending == .exit(3), "\(failed.errorText)")
    // Once somebody has it, it counts as what it is.
    try Data(Self.shards.images[1]).write(to: URL(fileURLWithPath: path(lake)))
    let full = try lake.run(["sync", "images", "--missing", "skip", "--budget", "\(2 * size + 10)", "--quiet"])
    #expect(full.ending == .exit(28), "\(full.errorText)")
    try lake.succeed(["sync", "images", "--missing", "skip", "--budget", "\(3 * size)", "--quiet"])
  }

  /// Whose size a server has to tell is one shard in words, too.
  @Test func oneSizeThatIsNotKnownIsOne() throws {
    let lake = try Self.shards.lake(synced: false)
    try lake.succeed([
      "source", "add", "far", "--url", "http://127.0.0.1:1/{ordinal}.npy", "--count", "1", "--dimension", "8",
    ])
    let refused = try lake.run(["sync", "far", "--budget", "1GB", "--missing", "skip"])
    #expect(refused.ending == .exit(64), "\(refused.errorText)")
    #expect(refused.errorText.contains("the size of 0.npy is not known, so"), "\(refused.errorText)")
  }

  /// What is gone for good and needed is not dropped, and the failure says what ends it.
  @Test func whatIsNowhereAndNeededIsPassedOverOnRequest() throws {
    let lake = try lake()
    try lake.succeed(["sync", "images", "--refresh", "--quiet"])
    try lake.succeed(["evict", "images", "--last-copies"])
    let failed = try lake.run(["sync", "images"])
    #expect(failed.ending == .exit(3), "\(failed.errorText)")
    let advice =
      "`tarn sync images --missing skip` passes over it; it cannot be dropped, as v@1, the trained index t rest on it"
    #expect(failed.errorText.contains(advice) && !failed.errorText.contains("drop-shards"), "\(failed.errorText)")
    let refused = try lake.run(["source", "drop-shards", "images", "--shards", "1"])
    #expect(
      refused.ending == .exit(64) && refused.errorText.contains("`tarn sync images --missing skip`"),
      "\(refused.errorText)")
    for _ in 0..<2 {
      let skipped = try lake.succeed(["sync", "images", "--missing", "skip"]).outputText
      #expect(skipped.hasSuffix("\nimages/images_1.npy is on no mirror: passed over\n"), "\(skipped)")
    }
    let json = try lake.succeed(["sync", "images", "--missing", "skip", "--json"]).outputText
    #expect(json.contains(#""type":"passed-over""#) && json.contains(#""passed_over":1"#), "\(json)")
    // What was built is as it was; what would be made of the bytes again says that they are gone.
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(2, dimension: PairedShards.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["search", "v@1", "--queries", queries, "-k", "3"])
    try lake.succeed(["verify"])
    let rebuilt = try lake.run(["reproduce", "v@1", "--fetch", "--patience", "0"])
    #expect(rebuilt.ending == .exit(21) && rebuilt.errorText.contains("images_1.npy"), "\(rebuilt.errorText)")
    // Other failures are failures.
    try Data("no features".utf8).write(to: URL(fileURLWithPath: path(lake)))
    #expect(try lake.run(["sync", "images", "--missing", "skip"]).ending == .exit(20))
    try Data(Self.shards.images[1]).write(to: URL(fileURLWithPath: path(lake)))
    #expect(try lake.succeed(["sync", "images", "--missing", "skip"]).outputText.hasPrefix("1 shard fetched"))
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }
}
