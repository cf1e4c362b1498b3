// Rows that were excluded since a version was made: no search of it finds them, and only
// versions that have them are said to.

import Base
import Foundation
import TestSupport
import Testing

@Suite struct ExcludedSearchTests {
  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
  ]
  private static let build = ["build", "v", "--trained", "t", "--images", "images", "--quiet"]

  private func exclude(_ lake: LakeFixture, _ ids: [Int], _ options: String...) throws -> ProcessResult {
    let file = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array(ids.map { "\($0)\n" }.joined().utf8), to: file)
    return try lake.succeed(["exclude", "images", "--ids", file, "--reason", "case 17"] + options)
  }

  private func ids(_ result: ProcessResult) throws -> [[Int64]] {
    try result.outputText.split(separator: "\n").map { line in
      try #require(JSONValue(parsing: String(line))?["ids"]).elements.compactMap(\.integer)
    }
  }

  @Test func noSearchOfASealedVersionFindsThem() throws {
    let lake = try PairedShards([11, 9], seed: 7).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(4, dimension: PairedShards.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = ["search", "v@1", "--queries", queries, "-k", "5", "--nprobe", "2", "--json"]
    let before = try lake.succeed(search)
    let all = try ids(lake.succeed(search + ["-k", "20"]))
    let gone = Set(all.flatMap { $0.prefix(2) }.map(Int.init))
    let file = lake.directory.path + "/gone"
    try Disk.writeAtomically(Array(gone.map { "\($0)\n" }.joined().utf8), to: file)
    let without = try lake.succeed(search + ["--exclude-ids", file])
    _ = try exclude(lake, gone.sorted())
    let after = try lake.succeed(search)
    #expect(
      try after.outputText == without.outputText
        && ids(after)
          == all.map { row in
            Array(row.filter { !gone.contains(Int($0)) }.prefix(5))
          }
    )
    #expect(
      after.errorText.contains("\(gone.count) rows excluded since the version was made are left out"),
      "\(after.errorText)")
    // With rows that are named, too, and with originals.
    #expect(try lake.succeed(search + ["--exclude-ids", file]).outputText == after.outputText)
    let more = lake.directory.path + "/more"
    let kept = try #require(all[0].first { !gone.contains(Int($0)) })
    try Disk.writeAtomically(Array("\(kept)\n\(gone.sorted()[0])\n".utf8), to: more)
    #expect(try ids(lake.succeed(search + ["--ids", more])) == all.map { _ in [kept] })
    #expect(try ids(lake.succeed(search + ["--exclude-ids", more])).allSatisfy { !$0.contains(kept) })
    #expect(try ids(lake.succeed(search + ["--rerank", "2"])).joined().allSatisfy { !gone.contains(Int($0)) })
    let none = try lake.run(search + ["--ids", file])
    #expect(none.ending == .exit(64) && none.errorText.contains("all are excluded or in holes"), "\(none.errorText)")
    let like = try lake.run(["search", "v@1", "--like", "\(gone.sorted()[0])"])
    #expect(like.ending == .exit(64) && like.errorText.contains("is excluded (case 17)"), "\(like.errorText)")

    // The next version has none to leave out, and what is taken back is found again.
    try lake.succeed(Self.build)
    let next = try lake.succeed(search.map { $0 == "v@1" ? "v@2" : $0 })
    #expect(next.outputText == after.outputText && !next.errorText.contains("left out"), "\(next.errorText)")
    _ = try exclude(lake, gone.sorted(), "--undo")
    let again = try lake.succeed(search)
    #expect(again.outputText == before.outputText && !again.errorText.contains("left out"), "\(again.errorText)")
  }

  /// What is made again in another directory has the rows that went since, which is said; what is only compared keeps none.
  @Test func aRebuildThatIsKeptIsSaidToHaveThem() throws {
    let lake = try PairedShards([11, 9], seed: 7).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    _ = try exclude(lake, [2, 14])
    try lake.succeed(Self.build)
    try lake.succeed(["revoke", "v@1", "--reason", "case 17"])
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0", "--quiet"])
    let folder = lake.directory.path + "/again"
    let kept = try lake.succeed(["reproduce", "v@1", "--into", folder, "--quiet"])
    #expect(
      kept.errorText.contains("warning: \(folder) has 2 rows of v@1 that were excluded since it was made"),
      "\(kept.errorText)")
    let compared = try lake.succeed(["reproduce", "v@2", "--quiet"])
    #expect(!compared.errorText.contains("excluded"), "\(compared.errorText)")
    let without = try lake.succeed(["reproduce", "v@2", "--into", folder + "2", "--quiet"])
    #expect(!without.errorText.contains("excluded"), "\(without.errorText)")
  }

  /// Who names a version by its number need not know that it was withdrawn.
  @Test func aRevokedVersionThatAnswersSaysSo() throws {
    let lake = try LakeFixture.make(.built)
    let queries = lake.directory.path + "/q.npy"
    try Disk.writeAtomically(FeatureBytes.npy(3, dimension: FeatureSources.dimension, seed: 5), to: queries)
    let words = [
      ["search", "v@1", "--like", "3", "--quiet", "--json"],
      ["evaluate", "v@1", "--queries", queries, "-k", "3", "--quiet", "--json"],
    ]
    for words in words { #expect(try lake.succeed(words).errorText.isEmpty) }
    try lake.succeed(["revoke", "v@1", "--reason", "a test"])
    for words in words {
      let said = try lake.succeed(words).errorText
      #expect(said.hasPrefix("tarn: warning: v@1 was revoked") && said.contains("`tarn versions`"), "\(said)")
    }
  }

  /// A row that is no number is in no output, and a version that left it out does not have it.
  @Test func onlyVersionsThatHaveARowAreSaidTo() throws {
    var shards = PairedShards([11, 9], seed: 8)
    shards.spoil(3, of: 0, isImage: true, with: 0xFF)
    let lake = try shards.lake()
    try lake.succeed(Self.train + ["--bad-rows", "skip"])
    try lake.succeed(Self.build + ["--bad-rows", "skip"])
    let bad = try exclude(lake, [3])
    let isOfNoVersion = !bad.outputText.contains("v@1")
    #expect(bad.outputText.hasPrefix("list 1 of images: 1 row excluded\n") && isOfNoVersion, "\(bad.outputText)")
    let good = try exclude(lake, [3, 4])
    #expect(good.outputText.contains("v@1 still has them"), "\(good.outputText)")
  }

  /// Of an output that is gone or damaged nobody knows better, and the others are named all the same.
  @Test(arguments: [false, true]) func aVersionWhoseFilesCannotBeReadIsSaidToHaveThem(isDamaged: Bool) throws {
    var shards = PairedShards([11, 9], seed: 8)
    shards.spoil(3, of: 0, isImage: true, with: 0xFF)
    let lake = try shards.lake()
    try lake.succeed(Self.train + ["--bad-rows", "skip"])
    try lake.succeed(Self.build + ["--bad-rows", "skip"])
    try lake.succeed([
      "build", "w", "--trained", "t", "--images", "images", "--quiet", "--bad-rows", "skip", "--shards-per-output", "1",
    ])
    let path = try lake.text(
      "SELECT path FROM stored_bytes WHERE sha256 = (SELECT sha256 FROM v_output_shard WHERE version = 'v@1')")
    let file = lake.lake + "/artifacts/" + path
    if isDamaged {
      try Disk.writeAtomically(Array("rotten".utf8), to: file)
    } else {
      try FileManager.default.removeItem(atPath: file)
    }
    let bad = try exclude(lake, [3])
    #expect(bad.outputText.contains("\nv@1 still has them"), "\(bad.outputText)")
    let good = try exclude(lake, [4])
    #expect(good.outputText.contains("\nv@1, w@1 still have them"), "\(good.outputText)")
  }

  /// Of versions that share an output the one that is asked for is named to be revoked: there is no way back from that.
  @Test func noOtherVersionIsNamedToBeRevoked() throws {
    let lake = try PairedShards([11, 9], seed: 7).lake()
    try lake.succeed(Self.train)
    for name in ["v", "w"] {
      try lake.succeed(["build", name, "--trained", "t", "--images", "images", "--quiet"])
    }
    _ = try exclude(lake, [3])
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/outputs")
    for name in ["v", "w"] {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/versions/\(name)@1/\(name).000.faiss")
    }
    for name in ["v@1", "w@1"] {
      let result = try lake.run(["search", name, "--like", "1"])
      #expect(result.ending == .exit(21), "\(result.errorText)")
      #expect(
        result.errorText.contains("rows of \(name) that are excluded")
          && result.errorText.contains("`tarn revoke \(name) --reason TEXT` withdraws \(name)"), "\(result.errorText)")
    }
  }
}
