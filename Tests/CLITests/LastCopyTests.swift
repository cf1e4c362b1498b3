// Bytes that nobody else has: no eviction drops them in silence while something rests on
// them, whoever makes room.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct LastCopyTests {
  private static let train = ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"]
  private static let build = ["build", "v", "--trained", "t", "--images", "images", "--quiet"]

  /// A lake with a version of three shards, of which the second is gone from its directory since.
  private func withdrawn() throws -> (lake: LakeFixture, byteCount: Int) {
    let shards = PairedShards([40, 40, 40], seed: 5)
    let lake = try shards.lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    try FileManager.default.removeItem(atPath: lake.directory.path + "/images/images_1.npy")
    // What it says of that is another test's.
    _ = try lake.run(["sync", "images", "--refresh", "--quiet"])
    return (lake, shards.images[0].count)
  }

  private func present(_ lake: LakeFixture, _ source: String = "images") throws -> [String] {
    try lake.texts("SELECT shard FROM v_shard WHERE source = '\(source)' AND state = 'present' ORDER BY ordinal")
  }

  @Test func whatMirrorsLackAnyMoreStays() throws {
    let (lake, byteCount) = try withdrawn()
    let said = try lake.succeed(["evict", "images"]).outputText
    #expect(said.contains("2 shards evicted"), "\(said)")
    let stays =
      "1 shard stays (\(ByteSize.text(byteCount))), as no mirror is known to have its bytes: v@1, the trained index t "
      + "rest on images_1.npy; --last-copies drops it too"
    #expect(said.contains(stays), "\(said)")
    #expect(try present(lake) == ["images_1.npy"])
    let json = try lake.succeed(["evict", "images", "--json"]).outputText
    let kept =
      #""kept_last_copies":[{"bytes":\#(byteCount),"dependents":["v@1","the trained index t"],"older":false,"#
      + #""shard":"images_1.npy"}]"#
    #expect(json.contains(kept), "\(json)")
    // The others can be had again, and so the version can be made again.
    try lake.succeed(["sync", "images", "--quiet"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    let gone = try lake.succeed(["evict", "images", "--last-copies"]).outputText
    #expect(gone.contains("3 shards evicted"), "\(gone)")
    #expect(
      gone.contains("bytes went that are needed: v@1, the trained index t rest on images_1.npy\n"), "\(gone)")
    #expect(try present(lake).isEmpty)
    try lake.succeed(["verify"])
  }

  /// A file that is back is as good as one that never went.
  @Test func whatIsBackMayGo() throws {
    let (lake, _) = try withdrawn()
    let path = lake.directory.path + "/images/images_1.npy"
    try Data(PairedShards([40, 40, 40], seed: 5).images[1]).write(to: URL(fileURLWithPath: path))
    try lake.succeed(["source", "probe", "images", "--quiet"])
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("3 shards evicted"))
    try lake.succeed(["sync", "images", "--quiet"])
  }

  @Test func whatNothingRestsOnMayGo() throws {
    let lake = try PairedShards([10, 10], seed: 6).lake()
    try FileManager.default.removeItem(atPath: lake.directory.path + "/images/images_1.npy")
    _ = try lake.run(["sync", "images", "--refresh", "--quiet"])
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("2 shards evicted"))
    #expect(try present(lake).isEmpty)
  }

  /// Bytes that a mirror replaced, and that the lake did not take for those.
  @Test func whatAMirrorHasOtherBytesOfStays() throws {
    let lake = try PairedShards([10, 10], seed: 7).lake()
    try lake.succeed(Self.train)
    let other = FeatureBytes.npy(10, dimension: PairedShards.dimension, seed: 99)
    try Data(other).write(to: URL(fileURLWithPath: lake.directory.path + "/images/images_0.npy"))
    #expect(try lake.run(["sync", "images", "--refresh", "--quiet"]).ending == .exit(3))
    let said = try lake.succeed(["evict", "images"]).outputText
    #expect(said.contains("the trained index t rests on images_0.npy; --last-copies"), "\(said)")
    #expect(try present(lake) == ["images_0.npy"])
  }

  /// Files that came by `import`, under whatever name their source has since.
  @Test func whatCameFromAFileStaysUntilAMirrorIsSeenWithIt() throws {
    let lake = try PairedShards([10, 12], seed: 8).lake(synced: false)
    let directory = lake.directory.path + "/images"
    let held = lake.directory.path + "/held"
    try FileManager.default.moveItem(atPath: directory, toPath: held)
    try lake.succeed(["import", "images"] + (0..<2).map { "\(held)/images_\($0).npy" })
    try lake.succeed(["source", "rename", "images", "pictures"])
    let train = ["train", "t", "--images", "pictures", "--method", "kmeans", "--nlist", "2", "--quiet"]
    try lake.succeed(train)
    let said = try lake.succeed(["evict", "pictures"]).outputText
    #expect(said.contains("0 shards evicted") && said.contains("2 shards stay ("), "\(said)")
    #expect(said.contains("the trained index t rests on images_0.npy, images_1.npy; --last-copies"), "\(said)")
    try FileManager.default.moveItem(atPath: held, toPath: directory)
    try lake.succeed(["source", "probe", "pictures", "--quiet"])
    #expect(try lake.succeed(["evict", "pictures"]).outputText.contains("2 shards evicted"))
    // A catalog that was made again knows of no import, and its mirrors are as good as others.
    try lake.succeed(["sync", "pictures", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "pictures", "--quiet"])
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside", "--quiet"])
    #expect(try lake.succeed(["evict", "pictures"]).outputText.contains("2 shards evicted"))
  }

  /// Room within a budget is made of what can be had again.
  @Test func roomIsNotMadeOfLastCopies() throws {
    let (lake, byteCount) = try withdrawn()
    try lake.succeed(["evict", "images"])
    try lake.succeed(["evict", "captions"])
    let within = ["--budget", "\(2 * byteCount + 10)", "--jobs", "1", "--patience", "0", "--quiet"]
    try lake.succeed(["reproduce", "v@1"] + within)
    #expect(try present(lake).contains("images_1.npy"))
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: PairedShards.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["evaluate", "v@1", "--queries", queries, "--nprobe", "1", "-k", "5"] + within)
    #expect(try present(lake).contains("images_1.npy"))
    try lake.succeed(
      ["train", "u", "--images", "images", "--method", "kmeans", "--nlist", "2", "--seed", "3"] + within)
    try lake.succeed(["build", "w", "--trained", "u", "--images", "images"] + within)
    #expect(try present(lake).contains("images_1.npy"))
    // Who has no other way is told that they hold the budget, and nobody is told to drop them.
    try lake.succeed(["evict", "images"])
    let caption = try #require(Disk.size(of: lake.directory.path + "/captions/captions_0.npy"))
    let full = try lake.run(["sync", "captions", "--budget", "\(caption + 10)", "--quiet"])
    #expect(full.ending == .exit(28), "\(full.errorText)")
    let held = "images holds \(ByteSize.text(byteCount)) that no mirror is known to have; "
    #expect(full.errorText.contains(held) && full.errorText.contains("; raise --budget"), "\(full.errorText)")
    #expect(!full.errorText.contains("evict"), "\(full.errorText)")
  }

  /// What can be had again is named before what others may not have.
  @Test func whatCanBeHadAgainIsAdvisedFirst() throws {
    let lake = try LakeFixture.make(.built)
    let file = lake.directory.path + "/img_0.npy"
    try Data(FeatureBytes.npy(20, dimension: FeatureSources.dimension, seed: 77)).write(to: URL(fileURLWithPath: file))
    try lake.succeed(["import", "images", file, "--keep-old"])
    try lake.succeed(["evict", "images"])
    let held = try LakeCatalog.open(root: lake.lake, writing: nil).holders()
    #expect(held.map(\.command) == ["`tarn evict captions`", "`tarn evict images --old`"])
    let all = held.reduce(0) { $0 + $1.byteCount }
    // A sync of everything works with both, and each can be had alone.
    let full = try lake.run(["sync", "--budget", "\(all + 1)", "--quiet"])
    #expect(full.ending == .exit(28), "\(full.errorText)")
    let hint =
      "; `tarn evict captions` and `tarn sync images` alone, raise --budget, take fewer shards with --shards, or "
      + "`tarn evict images --old`, though v@1, the trained index t rest on those"
    #expect(full.errorText.contains(hint), "\(full.errorText)")
    let one = try lake.run(["sync", "images", "--budget", "\(all + 1)", "--quiet"])
    let first = "; `tarn evict captions` what is not needed, raise --budget, or `tarn evict images --old`"
    #expect(one.errorText.contains(first), "\(one.errorText)")
  }
}
