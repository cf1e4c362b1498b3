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

  /// Whoever removed a file need not have told the lake, and one that was refreshed was told.
  @Test(arguments: [true, false]) func whatIsGoneFromItsDirectoryStays(isRefreshed: Bool) throws {
    let shards = PairedShards([40, 40, 40], seed: 5)
    let lake = try shards.lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    let path = lake.directory.path + "/images/images_1.npy"
    try FileManager.default.removeItem(atPath: path)
    let location = "SELECT state FROM v_location WHERE shard = 'images_1.npy'"
    if isRefreshed {
      let said = try lake.succeed(["source", "refresh", "images"]).outputText
      #expect(said.contains("images_1.npy is not there any more; its place and ids stay"), "\(said)")
      #expect(try lake.text(location) == "absent")
    }
    let said = try lake.succeed(["evict", "images"]).outputText
    #expect(said.contains("2 shards evicted"), "\(said)")
    #expect(said.contains("v@1, the trained index t rest on images_1.npy; --last-copies drops it too"), "\(said)")
    #expect(try present(lake) == ["images_1.npy"])
    #expect(try lake.text(location) == "absent")
    // One that was cut is no copy either, and one that is told again is.
    try Data(shards.images[1].dropLast()).write(to: URL(fileURLWithPath: path))
    try lake.succeed(["source", "refresh", "images"])
    #expect(try lake.text(location) == "unknown")
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("0 shards evicted"))
    #expect(try lake.text(location) == "faulty")
    try Data(shards.images[1]).write(to: URL(fileURLWithPath: path))
    try lake.succeed(["source", "probe", "images", "--quiet"])
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("1 shard evicted"))
  }

  /// A directory that is away may come back as it was, as one of a network that is not mounted: nothing goes, and
  /// nothing is recorded.
  @Test func whatCannotBeLookedAtStaysAsItIsKnown() throws {
    let lake = try PairedShards([40, 40], seed: 5).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    try lake.succeed(["source", "probe", "images", "--quiet"])
    let known = "SELECT state || ' ' || coalesce(bytes, '') FROM v_location WHERE source = 'images' ORDER BY shard"
    let before = try lake.texts(known)
    let (directory, away) = (lake.directory.path + "/images", lake.directory.path + "/away")
    try FileManager.default.moveItem(atPath: directory, toPath: away)
    let said = try lake.succeed(["evict", "images"]).outputText
    #expect(said.contains("0 shards evicted") && said.contains("--last-copies"), "\(said)")
    #expect(try lake.texts(known) == before)
    try FileManager.default.moveItem(atPath: away, toPath: directory)
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("2 shards evicted"))
  }

  /// A file under another name is not at the address that the shard has, and keeps where a version states it.
  @Test func whatHasAnotherNameStays() throws {
    let lake = try PairedShards([40, 40], seed: 5).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    let directory = lake.directory.path + "/images"
    try FileManager.default.moveItem(atPath: directory + "/images_1.npy", toPath: directory + "/renamed.npy")
    let said = try lake.succeed(["source", "refresh", "images"]).outputText
    #expect(said.contains("images_1.npy is at renamed.npy now"), "\(said)")
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("1 shard evicted"))
    #expect(try present(lake) == ["images_1.npy"])
  }

  /// Where no version states the address the file is asked for under its new name.
  @Test func whatHasAnotherNameIsAskedForThere() throws {
    let lake = try PairedShards([40, 40], seed: 5).lake()
    try lake.succeed(Self.train)
    let directory = lake.directory.path + "/images"
    try FileManager.default.moveItem(atPath: directory + "/images_1.npy", toPath: directory + "/renamed.npy")
    let said = try lake.succeed(["source", "refresh", "images", "--json"]).outputText
    #expect(said.contains(#""moved":[{"shard":"images_1.npy","taken":true,"to":"renamed.npy"}]"#), "\(said)")
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("2 shards evicted"))
    try lake.succeed(["sync", "images", "--quiet"])
    #expect(try present(lake) == ["images_0.npy", "images_1.npy"])
    #expect(try !lake.succeed(["source", "refresh", "images"]).outputText.contains("renamed.npy"))
    try lake.succeed(["verify"])
  }

  /// `import` knows a file by its bytes, too, and no other file.
  @Test func aRenamedFileIsImportedByItsBytes() throws {
    let shards = PairedShards([40, 41], seed: 5)
    let lake = try shards.lake()
    try lake.succeed(["evict", "images"])
    let path = lake.directory.path + "/renamed.npy"
    try Data(shards.images[1]).write(to: URL(fileURLWithPath: path))
    try lake.succeed(["import", "images", path])
    #expect(try present(lake) == ["images_1.npy"])
    try Data(FeatureBytes.npy(40, dimension: PairedShards.dimension, seed: 99)).write(to: URL(fileURLWithPath: path))
    let refused = try lake.run(["import", "images", path])
    #expect(refused.errorText.contains("has no shard named renamed.npy"), "\(refused.errorText)")
  }

  /// Of several shards of the same bytes the one that lacks its file is meant, and else any of them will do.
  @Test func aRenamedFileOfTwinsIsImported() throws {
    var shards = PairedShards([40, 40, 41], seed: 5)
    shards.images[1] = shards.images[0]
    let lake = try shards.lake()
    let path = lake.directory.path + "/renamed.npy"
    try Data(shards.images[0]).write(to: URL(fileURLWithPath: path))
    try lake.evict("images", [1])
    try lake.succeed(["import", "images", path])
    #expect(try present(lake) == ["images_0.npy", "images_1.npy", "images_2.npy"])
    try lake.succeed(["evict", "images"])
    try lake.succeed(["import", "images", path])
    #expect(try present(lake) == ["images_0.npy"])
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
    let said = try lake.succeed(["evict", "images"]).outputText
    #expect(said.contains("2 shards evicted"), "\(said)")
    // That no sync brings it back is said.
    #expect(said.contains("1 shard of these is on no mirror any more, images_1.npy: "), "\(said)")
    #expect(try present(lake).isEmpty)
    #expect(!(try lake.succeed(["evict", "images"]).outputText.contains("on no mirror")))
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

  /// A mirror whose bytes were refused is marked, so that one that has the right ones is asked before it.
  @Test func aMirrorWhoseBytesWereRefusedIsAskedLast() throws {
    let lake = try PairedShards([10, 10], seed: 7).lake()
    let (first, spare) = (lake.directory.path + "/images", lake.directory.path + "/spare")
    try FileManager.default.copyItem(atPath: first, toPath: spare)
    try lake.succeed(["source", "mirror", "add", "images", spare])
    try lake.succeed(Self.train)
    let other = FeatureBytes.npy(10, dimension: PairedShards.dimension, seed: 99)
    try Data(other).write(to: URL(fileURLWithPath: first + "/images_0.npy"))
    #expect(try lake.run(["sync", "images", "--refresh", "--quiet"]).ending == .exit(3))
    let location = "FROM v_location WHERE shard = 'images_0.npy' AND mirror = 0"
    #expect(try lake.text("SELECT state \(location)") == "faulty")
    #expect(try lake.text("SELECT last_error \(location)").contains("it gives other bytes, SHA-256 "))
    try lake.succeed(["sync", "images", "--refresh", "--quiet"])
    #expect(try lake.succeed(["evict", "images"]).outputText.contains("2 shards evicted"))
    try lake.succeed(["sync", "images", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    // Who wants the other bytes gets them from there.
    try FileManager.default.removeItem(atPath: spare + "/images_0.npy")
    try lake.succeed(["sync", "images", "--refresh", "--keep-old", "--quiet"])
    #expect(try lake.text("SELECT state \(location)") == "present")
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

  /// A lake whose two shards have the same bytes, by import, with a version on the first alone; no mirror has either.
  private func twins() throws -> (lake: LakeFixture, held: String) {
    var shards = PairedShards([30, 30], seed: 14)
    shards.images[1] = shards.images[0]
    let lake = try shards.lake(synced: false)
    let held = lake.directory.path + "/held"
    try FileManager.default.moveItem(atPath: lake.directory.path + "/images", toPath: held)
    try lake.succeed(["import", "images"] + (0..<2).map { "\(held)/images_\($0).npy" })
    try lake.succeed(Self.train + ["--shards", "0"])
    try lake.succeed(Self.build + ["--shards", "0"])
    return (lake, held)
  }

  /// Bytes are the last copy of what rests on them, whichever shard of those that had them has them still.
  @Test(arguments: [["evict", "images"], ["evict", "images", "--shards", "1"], ["gc", "--grace", "0s", "--apply"]])
  func theSameBytesOfAnotherShardAreALastCopyToo(command: [String]) throws {
    let (lake, _) = try twins()
    if command != ["evict", "images"] {
      let first = try lake.succeed(["evict", "images", "--shards", "0"]).outputText
      #expect(first.contains("1 shard evicted"), "\(first)")
    }
    if command.first == "gc" { try lake.succeed(["source", "drop-shards", "images", "--shards", "1"]) }
    let said = try lake.succeed(command).outputText
    if command.first == "evict" {
      #expect(said.contains("v@1, the trained index t rest on images_1.npy; --last-copies"), "\(said)")
    }
    let digest = try #require(ContentDigest(hex: lake.text("SELECT sha256 FROM shard_revision LIMIT 1")))
    func catalog() throws -> LakeCatalog { try LakeCatalog.open(root: lake.lake, writing: nil) }
    #expect(try catalog().shardPath(holding: digest) != nil)
    #expect(try catalog().holders().allSatisfy { $0.way.loss == .lastCopies || $0.way.sources == ["captions"] })
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    // Who means it gets the room.
    try lake.succeed(["evict", "images", "--last-copies"])
    #expect(try catalog().shardPath(holding: digest) == nil)
  }

  /// What no mirror is known to have is not asked of mirrors.
  @Test func whatNobodyHasIsImportedAgain() throws {
    let (lake, held) = try twins()
    try lake.succeed(["evict", "images", "--last-copies"])
    let missing = try lake.run(["reproduce", "v@1", "--quiet"])
    #expect(missing.ending == .exit(21), "\(missing.errorText)")
    let advice = "no mirror is known to have the bytes: `tarn import images FILE` takes a copy in"
    #expect(
      missing.errorText.contains(advice) && !missing.errorText.contains("tarn sync"), "\(missing.errorText)")
    try lake.succeed(["import", "images", "\(held)/images_0.npy"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }

  /// Other bytes do not take the place of such ones without a word.
  @Test func otherBytesDoNotReplaceTheLastCopyOfAnotherShard() throws {
    let (lake, held) = try twins()
    try lake.succeed(["evict", "images", "--shards", "0"])
    let other = "\(held)/other/images_1.npy"
    try Disk.makeDirectory(other.parentPath)
    let bytes = FeatureBytes.npy(30, dimension: PairedShards.dimension, .float16, seed: 99)
    try Data(bytes).write(to: URL(fileURLWithPath: other))
    let said = try lake.run(["import", "images", other])
    #expect(said.ending != .exit(0) && said.errorText.contains("v@1, the trained index t rest"), "\(said.errorText)")
    try lake.succeed(["import", "images", other, "--keep-old"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
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
    let first =
      "; evict what is not needed of captions (`tarn evict captions`), raise --budget, or `tarn evict images --old`"
    #expect(one.errorText.contains(first), "\(one.errorText)")
  }
}
