// Other bytes for a shard that is known: nothing is dropped in silence, and what is
// kept beside stays usable.

import Base
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct ReplacementTests {
  /// A file of other rows under the name of the first image shard.
  private func other(_ lake: LakeFixture) throws -> String {
    let path = lake.directory.path + "/img_0.npy"
    try Data(FeatureBytes.npy(FeatureSources.rowCount, dimension: 8, seed: 77)).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func shardFiles(_ lake: LakeFixture) throws -> [String] {
    try lake.files().filter { $0.hasPrefix("shards/images/img_0") }
  }

  /// A copy of the first shard's bytes as they are in the lake.
  private func copyOfOld(_ lake: LakeFixture) throws -> String {
    let directory = lake.directory.path + "/old"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let held = try #require(try shardFiles(lake).first).prefix { $0 != ":" }
    try FileManager.default.copyItem(atPath: "\(lake.lake)/\(held)", toPath: directory + "/img_0.npy")
    return directory + "/img_0.npy"
  }

  @Test func anImportOfOtherBytesNamesWhatRestsOnTheOld() throws {
    let lake = try LakeFixture.make(.built)
    let before = try shardFiles(lake)
    let refused = try lake.run(["import", "images", other(lake)])
    #expect(refused.ending == .exit(64))
    for word in ["v@1", "the trained index t", "--replace", "--keep-old"] {
      #expect(refused.errorText.contains(word), "\(refused.errorText)")
    }
    #expect(try shardFiles(lake) == before)
    #expect(try lake.texts("SELECT revision FROM shard_revision WHERE revision > 1").isEmpty)
    // The same bytes are no others.
    try lake.succeed(["import", "images", copyOfOld(lake)])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    #expect(try lake.run(["import", "images", other(lake), "--replace", "--keep-old"]).ending == .exit(64))
  }

  @Test func whereNothingRestsOnThemOtherBytesAreImportedOnRequestAlone() throws {
    let lake = try LakeFixture.make(.synced)
    let refused = try lake.run(["import", "images", other(lake)])
    #expect(refused.ending == .exit(64) && refused.errorText.contains("nothing rests"), "\(refused.errorText)")
    try lake.succeed(["import", "images", other(lake), "--replace"])
    #expect(try shardFiles(lake).count == 1)
    // Two files of one shard in one call are two.
    let twice = try lake.run(["import", "images", other(lake), lake.directory.path + "/../img_0.npy"])
    #expect(twice.ending != .exit(0))
    try lake.succeed(["verify"])
  }

  @Test func bothRevisionsAreKeptAndUsed() throws {
    let lake = try LakeFixture.make(.built)
    let old = try copyOfOld(lake)
    let bytes = try lake.text("SELECT CAST(bytes AS TEXT) FROM v_storage WHERE kind = 'shard'")
    let imported = try lake.succeed(["import", "images", other(lake), "--keep-old"])
    #expect(imported.outputText.contains("new revision of img_0.npy; v@1, the trained index t rest on the one before"))
    #expect(try shardFiles(lake).count == 2)
    let both = try lake.text("SELECT CAST(bytes AS TEXT) FROM v_storage WHERE kind = 'shard'")
    let size = try #require(Disk.size(of: old))
    #expect(Int(both) == (Int(bytes) ?? 0) + size, "the budget counts both")
    for arguments in [["reproduce", "v@1", "--quiet"], ["verify"], ["doctor"], ["gc", "--grace", "0s", "--apply"]] {
      try lake.succeed(arguments)
    }
    #expect(try shardFiles(lake).count == 2)
    // The next version is made of the new bytes, the old one still of the old.
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    try lake.succeed(["reproduce", "w@1", "--quiet"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    // What something rests on outlives an eviction: the older revision, and the newer one, which came from a file alone.
    let evicted = try lake.succeed(["evict", "images"])
    #expect(evicted.outputText.contains("1 older revision stays ("), "\(evicted.outputText)")
    #expect(evicted.outputText.contains("v@1") && evicted.outputText.contains("--old"), "\(evicted.outputText)")
    #expect(evicted.outputText.contains("w@1 rests on img_0.npy; --last-copies"), "\(evicted.outputText)")
    #expect(try shardFiles(lake).count == 2)
    try lake.succeed(["sync", "captions", "--quiet"])
    let dropped = try lake.succeed(["evict", "images", "--old", "--last-copies"])
    #expect(dropped.outputText.contains("1 older revision evicted"), "\(dropped.outputText)")
    // Who loses an input by that is said.
    let lost =
      "bytes went that are needed: w@1, v@1, the trained index t rest on img_0.npy, the older revision of img_0.npy"
    #expect(dropped.outputText.contains(lost), "\(dropped.outputText)")
    #expect(try shardFiles(lake).isEmpty)
    try lake.succeed(["verify"])
    // What is advised then works.
    let missing = try lake.run(["reproduce", "v@1", "--quiet"])
    #expect(missing.ending == .exit(21) && missing.errorText.contains("tarn import"), "\(missing.errorText)")
    try lake.succeed(["import", "images", old, "--keep-old"])
    try lake.succeed(["sync", "images", "--shards", "1", "--quiet"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    try lake.succeed(["verify"])
  }

  /// Two shards had the same bytes: the one has others since, and the other is evicted.
  @Test func oldBytesThatAnotherShardHadStayWhenItIsEvicted() throws {
    var shards = PairedShards([9, 9], seed: 5)
    shards.images[1] = shards.images[0]
    let lake = try shards.lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
    ])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    let path = lake.directory.path + "/images_0.npy"
    try Data(FeatureBytes.npy(9, dimension: PairedShards.dimension, seed: 77)).write(to: URL(fileURLWithPath: path))
    try lake.succeed(["import", "images", path, "--keep-old"])
    let evicted = try lake.succeed(["evict", "images", "--shards", "1"]).outputText
    #expect(evicted.contains("1 older revision stays (") && evicted.contains("v@1"), "\(evicted)")
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    try lake.succeed(["verify"])
    #expect(try lake.succeed(["evict", "images", "--old"]).outputText.contains("1 older revision evicted"))
    #expect(try lake.run(["reproduce", "v@1", "--quiet"]).ending == .exit(21))
  }

  @Test func keptBytesThatNothingRestsOnAreGarbage() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(["import", "images", other(lake), "--keep-old"])
    #expect(try shardFiles(lake).count == 2)
    #expect(
      try lake.succeed(["gc", "--apply"]).outputText.contains("1 file (448 B) unused, kept for the grace period"))
    #expect(try shardFiles(lake).count == 2)
    let shown = try lake.succeed(["gc", "--grace", "0s"]).outputText
    #expect(shown.contains("older revision 1") && shown.contains("1 file (448 B) would be removed"), "\(shown)")
    // What is counted is everything that went.
    let removed = try lake.succeed(["gc", "--grace", "0s", "--apply"]).outputText
    #expect(removed.hasSuffix("1 file (448 B) removed\n") && !removed.contains("0 files"), "\(removed)")
    #expect(try shardFiles(lake).count == 1)
    try lake.succeed(["verify"])
  }

  /// What may be the last there is of them stays, and is named again, until a copy is there.
  @Test func damagedOldBytesStayWhereSomethingRestsOnThem() throws {
    let lake = try LakeFixture.make(.built)
    let old = try copyOfOld(lake)
    let file = try #require(try shardFiles(lake).first).prefix { $0 != ":" }
    let held = "\(lake.lake)/\(file)"
    try lake.succeed(["import", "images", other(lake), "--keep-old"])
    try Data("rotten".utf8).write(to: URL(fileURLWithPath: held))
    for _ in 0..<2 {
      let found = try lake.run(["verify", "--repair"])
      #expect(found.ending == .exit(20), "\(found.outputText)")
      let parts = [
        "old-revision images/img_0.npy", "; not replaced; it stays where it is: v@1, the trained index t rest on it",
        "`tarn import images FILE --keep-old`", "`tarn evict images --old`",
      ]
      for part in parts { #expect(found.outputText.contains(part), "\(found.outputText)") }
      #expect(FileManager.default.contents(atPath: held) == Data("rotten".utf8))
    }
    // What is advised works.
    try lake.succeed(["import", "images", old, "--keep-old"])
    #expect(try Disk.digest(of: held) == Disk.digest(of: old))
    try lake.succeed(["verify"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }

  @Test func damagedOldBytesGoWhereNothingRestsOnThem() throws {
    let lake = try LakeFixture.make(.synced)
    let held = try #require(try shardFiles(lake).first).prefix { $0 != ":" }
    try lake.succeed(["import", "images", other(lake), "--keep-old"])
    try Data("rotten".utf8).write(to: URL(fileURLWithPath: "\(lake.lake)/\(held)"))
    let found = try lake.run(["verify", "--repair"])
    #expect(
      found.ending == .exit(20) && found.outputText.contains("old-revision images/img_0.npy"), "\(found.outputText)")
    #expect(found.outputText.contains("; given up"), "\(found.outputText)")
    #expect(try shardFiles(lake).count == 1)
    try lake.succeed(["verify"])
  }

  @Test func aRebuiltCatalogKnowsBoth() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["import", "images", other(lake), "--keep-old"])
    try lake.succeed(["train", "u", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "w", "--trained", "u", "--images", "images", "--quiet"])
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside"])
    for version in ["v@1", "w@1"] { try lake.succeed(["reproduce", version, "--quiet"]) }
    try lake.succeed(["verify"])
    try lake.succeed(["gc", "--grace", "0s", "--apply"])
    #expect(try shardFiles(lake).count == 2)
  }

  @Test func aVersionOfTwoRevisionsIsExportedMadeAgainAndFoundAgain() throws {
    let lake = try LakeFixture.make(.built)
    let old = try copyOfOld(lake)
    try lake.succeed(["import", "images", other(lake), "--keep-old"])
    // Trained on the old bytes, built from the new ones.
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    try lake.succeed(["verify"])
    try lake.succeed(["reproduce", "w@1", "--quiet"])
    let document = lake.directory.path + "/w.json"
    let exported = try lake.succeed(["export", "w@1"]).output
    try Data(exported).write(to: URL(fileURLWithPath: document))
    let text = String(decoding: exported, as: UTF8.self)
    #expect(text.contains(#""format" : "tarn-export-2""#) && text.contains(#""trained_on""#))
    let plain = try lake.succeed(["export", "v@1"]).outputText
    #expect(plain.contains(#""format" : "tarn-export-1""#) && !plain.contains("trained_on"))
    for format in ["in-toto", "croissant"] {
      let said = try lake.succeed(["export", "w@1", "--format", format]).outputText
      for path in [old, lake.directory.path + "/img_0.npy"] {
        #expect(said.contains(try Disk.digest(of: path).hex), "\(format)")
      }
    }
    // A lost catalog is found again with both versions.
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    let rebuilt = try lake.succeed(["rebuild-catalog", "--allow-inside"])
    #expect(!rebuilt.outputText.contains("left out"), "\(rebuilt.outputText)")
    try lake.succeed(["verify"])
    for version in ["v@1", "w@1"] { try lake.succeed(["reproduce", version, "--quiet"]) }
    #expect(try lake.succeed(["export", "w@1"]).output == exported)
    // In a new lake, from the document: what no mirror has is imported.
    for budget in [[], ["--budget", "4000"]] {
      let new = try LakeFixture.nothing()
      try new.succeed(["init", new.lake])
      let replay = ["reproduce", "--from", document, "--allow-inside", "--patience", "0"] + budget
      let lacking = try new.run(replay)
      #expect(lacking.ending == .exit(20) && lacking.errorText.contains("tarn import images"), "\(lacking.errorText)")
      try new.succeed(["import", "images", lake.directory.path + "/img_0.npy", "--keep-old"])
      let identical = try new.succeed(replay)
      #expect(identical.outputText.contains("w@1 is identical"), "\(identical.outputText)")
      try new.succeed(["verify"])
      try new.succeed(["reproduce", "w@1", "--quiet"] + (budget.isEmpty ? [] : ["--fetch"]))
    }
  }

  /// A source whose server changes its mind about the first shard.
  private final class Changing: Sendable {
    let isChanged = Mutex(false)
    func bytes(_ target: String) -> [UInt8]? {
      switch target {
      case "/0.npy": FeatureBytes.npy(20, dimension: 8, seed: isChanged.withLock { $0 } ? 50 : 51)
      case "/1.npy": FeatureBytes.npy(20, dimension: 8, seed: 52)
      default: nil
      }
    }
  }

  @Test func aRefreshReplacesNothingThatIsPinned() throws {
    let lake = try LakeFixture.make(.empty)
    let changing = Changing()
    let server = try HostileServer { request in
      changing.bytes(request.target).map { .file($0, etag: nil, for: request) } ?? .answer(404)
    }
    try lake.succeed([
      "source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "2", "--dimension", "8",
    ])
    try lake.succeed(["sync", "--quiet"])
    // What nothing rests on is replaced, as it was asked for.
    changing.isChanged.withLock { $0 = true }
    #expect(try lake.succeed(["sync", "--refresh"]).outputText.contains("new revision of 0.npy\n"))
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    changing.isChanged.withLock { $0 = false }
    let files = try lake.files()
    let refused = try lake.run(["sync", "--refresh"])
    #expect(
      refused.ending == .exit(3) && refused.errorText.contains("v@1, the trained index t rest"), "\(refused.errorText)")
    #expect(try lake.files() == files)
    try lake.succeed(["verify"])
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["sync", "--refresh", "--keep-old"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    try lake.succeed(["evict", "images", "--old"])
    let back = try lake.succeed(["sync"])
    #expect(!back.outputText.contains("new revision"), "\(back.outputText)")
    // Bytes that came to be the newest are back on the servers.
    changing.isChanged.withLock { $0 = true }
    #expect(try lake.succeed(["sync", "--refresh", "--replace"]).outputText.contains("new revision of 0.npy"))
    try lake.succeed(["reproduce", "v@1", "--quiet"])
    let kmeans = ["--images", "images", "--method", "kmeans", "--nlist", "2"]
    try lake.succeed(["train", "u", "--seed", "5"] + kmeans)
    // An eviction and a change: nothing is dropped, and who is left behind is said.
    try lake.succeed(["evict", "images"])
    changing.isChanged.withLock { $0 = false }
    let before = try lake.copy()
    let changed = try lake.succeed(["sync"])
    #expect(
      changed.outputText.contains("v@1, the trained index t, the trained index u rest on the one before"),
      "\(changed.outputText)")
    // So it is whichever verb fetches.
    let train = ["train", "x", "--seed", "6", "--fetch"] + kmeans
    let build = ["build", "w", "--trained", "u", "--images", "images"]
    for command in [train, build, build + ["--budget", "2000"], train + ["--budget", "2000"]] {
      let said = try before.copy().succeed(command + ["--quiet"])
      let warning = "tarn: warning: new revision of 0.npy; v@1, the trained index t, the trained index u rest on"
      #expect(said.errorText.contains(warning), "\(said.errorText)")
      let json = try before.copy().succeed(command + ["--json"])
      let dependents = #"["v@1","the trained index t","the trained index u"]"#
      let revised = #""revised":[{"dependents":\#(dependents),"shard":"0.npy","source":"images"}]"#
      #expect(json.outputText.contains(revised), "\(json.outputText)")
    }
    let events = try before.copy().succeed(["sync", "--json"])
    #expect(events.outputText.contains(#""shard":"0.npy","source":"images","type":"revised""#), "\(events.outputText)")
  }
}
