// Lakes in which there is nothing to index: a shard of bad rows alone, a shard
// that is missing, versions without a row. Each is sealed, searched, made again.

import Foundation
import Testing
import TestSupport

@Suite struct EmptySetCommandTests {
  /// A lake with an index `k` that was trained on 200 rows.
  private func trained(_ lake: LakeFixture) throws {
    try write(FeatureBytes.npy(200, dimension: 8, seed: 1), "t/0.npy", lake)
    try lake.succeed(["init", lake.lake])
    try add("t", lake)
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["train", "k", "--images", "t", "--nlist", "4", "--method", "kmeans", "--quiet"])
  }

  private func write(_ bytes: [UInt8], _ name: String, _ lake: LakeFixture) throws {
    let url = URL(fileURLWithPath: "\(lake.directory.path)/\(name)")
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
  }

  private func add(_ name: String, _ lake: LakeFixture) throws {
    try lake.succeed(["source", "add", name, "--directory", "\(lake.directory.path)/\(name)", "--dimension", "8"])
  }

  /// Searches and makes again a version that was built, and checks every byte.
  private func use(_ version: String, _ lake: LakeFixture, rows: Int) throws {
    try write(FeatureBytes.npy(2, dimension: 8, seed: 9), "q.npy", lake)
    #expect(try lake.text("SELECT rows FROM v_version WHERE name = 'b'") == "\(rows)")
    let queries = lake.directory.path + "/q.npy"
    let found = try lake.succeed(["search", version, "--queries", queries, "--nprobe", "9", "-k", "3", "--json"])
    #expect(found.outputText.split(separator: "\n").count == 2)
    let measured = try lake.succeed(["evaluate", version, "--queries", queries, "-k", "3", "--json", "--quiet"])
    #expect(!measured.outputText.lowercased().contains("nan"))
    #expect(try lake.succeed(["reproduce", version]).outputText.contains("identical"))
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func aVersionOfBadRowsAloneIsSearchedAndMadeAgain() throws {
    let lake = try LakeFixture.nothing()
    try trained(lake)
    var zeros = FeatureBytes.npy(5, dimension: 8, seed: 1)
    zeros.replaceSubrange(128..., with: [UInt8](repeating: 0, count: zeros.count - 128))
    try write(zeros, "z/0.npy", lake)
    try add("z", lake)
    try lake.succeed(["sync", "--quiet"])
    let refused = try lake.run(["build", "a", "--trained", "k", "--images", "z", "--quiet"])
    #expect(refused.ending == .exit(20) && refused.errorText.contains("row 0 holds only zeros"))
    let build = ["build", "b", "--trained", "k", "--images", "z", "--bad-rows", "skip", "--quiet"]
    try lake.succeed(build)
    #expect(try lake.text("SELECT bad_row_count FROM segment") == "5")
    try lake.succeed(build)
    try use("b@1", lake, rows: 0)
  }

  @Test func anOutputWhoseOnlyShardIsMissingHasNoRows() throws {
    let lake = try LakeFixture.nothing()
    try trained(lake)
    for ordinal in 0..<3 {
      try write(FeatureBytes.npy(100, dimension: 8, seed: UInt64(10 + ordinal)), "s/\(ordinal).npy", lake)
    }
    try add("s", lake)
    try lake.succeed(["sync", "--quiet"])
    // Its length is known, its bytes are nowhere.
    try lake.succeed(["evict", "s", "--shards", "1"])
    try FileManager.default.removeItem(atPath: lake.directory.path + "/s/1.npy")
    let build = [
      "build", "b", "--trained", "k", "--images", "s", "--shards-per-output", "1", "--missing", "skip", "--quiet",
    ]
    try lake.succeed(build)
    try lake.succeed(build)
    #expect(try lake.texts("SELECT rows FROM v_output_shard ORDER BY output") == ["100", "0", "100"])
    try use("b@1", lake, rows: 200)
  }

  /// A row that was left out has an id and a shard, and is in no list.
  @Test func aBadRowThatWasLeftOutIsNotLocated() throws {
    let lake = try LakeFixture.nothing()
    try trained(lake)
    for ordinal in 0..<2 {
      var rows = FeatureBytes.npy(10, dimension: 8, seed: UInt64(30 + ordinal))
      if ordinal == 1 { rows.replaceSubrange((128 + 3 * 16)..<(128 + 4 * 16), with: [UInt8](repeating: 0, count: 16)) }
      try write(rows, "s/\(ordinal).npy", lake)
    }
    try add("s", lake)
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["build", "b", "--trained", "k", "--images", "s", "--bad-rows", "skip", "--quiet"])
    let places = try lake.succeed(["locate", "b@1", "0", "12", "14", "--format", "csv"]).outputText
    #expect(places.contains("14,s,1.npy,4,"))
    let result = try lake.run(["locate", "b@1", "0", "13"])
    #expect(result.ending == .exit(64) && result.output.isEmpty)
    #expect(result.errorText.contains("row 13 of b@1 is not in the index: row 3 of 1.npy was bad when it was built"))
  }
}
