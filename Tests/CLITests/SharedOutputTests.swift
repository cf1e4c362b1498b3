// Outputs that several versions have: made once, on the disk once, mended under every name.

import Base
import Catalog
import Foundation
import Lake
import Logging
import Testing
import TestSupport

@Suite struct SharedOutputTests {
  private static let train = ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"]
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet",
  ]

  /// A lake with a version of four of five shards.
  private func lake() throws -> LakeFixture {
    let lake = try PairedShards([20, 20, 20, 20, 20], seed: 7).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build + ["--shards", "0-3"])
    return lake
  }

  /// Takes out one row of the images.
  private func exclude(_ id: Int, from lake: LakeFixture) throws {
    let ids = lake.directory.path + "/ids"
    try Disk.writeAtomically(Array("\(id)\n".utf8), to: ids)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "a test"])
  }

  private func linkCount(_ path: String) throws -> Int { Int(try info(path).st_nlink) }

  private func inode(_ path: String) throws -> UInt64 { UInt64(try info(path).st_ino) }

  private func info(_ path: String) throws -> stat {
    var info = stat()
    let found = stat(path, &info)
    try #require(found == 0, "\(path)")
    return info
  }

  private func name(_ lake: LakeFixture, _ version: Int, _ output: Int = 0) -> String {
    "\(lake.lake)/versions/v@\(version)/v.00\(output).faiss"
  }

  /// The file of the first output of the first version.
  private func artifact(_ lake: LakeFixture) throws -> String {
    let path = try lake.text(
      "SELECT b.path FROM output_shard o JOIN stored_bytes b ON b.sha256 = o.sha256 WHERE o.ordinal = 0 LIMIT 1")
    return "\(lake.lake)/artifacts/\(path)"
  }

  /// Parts a file from its other names, as an older tarn did when it merged an output again.
  private func copyAnew(_ path: String) throws {
    try FileManager.default.copyItem(atPath: path, toPath: path + ".copy")
    try Disk.moveIntoPlace(path + ".copy", path)
  }

  /// The same command without its layout shares files with the version before, and what cannot is told.
  @Test func theNextVersionHasTheLayoutOfTheLast() throws {
    let lake = try lake()
    let plain = ["build", "v", "--trained", "t", "--images", "images"]
    let dry = try lake.succeed(plain + ["--dry-run"])
    #expect(dry.errorText.contains("2 shards per output, as the last version of v has"), "\(dry.errorText)")
    let next = try lake.succeed(plain)
    #expect(!next.errorText.contains("share no file"), "\(next.errorText)")
    #expect(try inode(name(lake, 1)) == inode(name(lake, 2)))
    // Whoever says another one means it, and is told what it costs.
    let told = "v@2 has 2 shards per output, this build 5: they share no file"
    let other = plain + ["--shards-per-output", "5"]
    #expect(try lake.succeed(other + ["--dry-run"]).errorText.contains(told))
    #expect(try lake.succeed(other).errorText.contains(told))
    #expect(try !lake.succeed(other).errorText.contains(told))
    try lake.succeed(["train", "u"] + Self.train.dropFirst(2) + ["--seed", "2"])
    let skipping = try lake.succeed(other + ["--bad-rows", "skip", "--dry-run"])
    let policy = "v@3 was built with --bad-rows fail, this build with skip: they share no file"
    #expect(skipping.errorText.contains(policy), "\(skipping.errorText)")
    let trained = try lake.succeed(["build", "v", "--trained", "u", "--images", "images"])
    let word = "v@3 is encoded against t, this build against u: they share no file"
    #expect(trained.errorText.contains(word), "\(trained.errorText)")
    // A name without a version of this source has the layout that it ever had.
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    #expect(try lake.texts("SELECT shards_per_output || '' FROM index_version WHERE name = 'w'") == ["40"])
  }

  /// The shards of outputs that are there are neither fetched nor encoded, and nothing is written twice.
  @Test func anExtensionSharesWhatItDoesNotChange() throws {
    let lake = try lake()
    try lake.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
    try lake.evict("images", [0, 1, 2, 3])
    let before = try (lake.transferCount(), LakeFixture.byteCount(below: lake.lake + "/artifacts"))
    let dry = try lake.succeed(Self.build + ["--dry-run", "--json"]).outputText
    let steps = try #require(JSONValue(parsing: dry)?["steps"]?.elements)
    #expect(!steps.contains { $0["step"]?.string == "fetching" }, "\(dry)")
    try lake.succeed(Self.build + ["--offline"])
    #expect(try lake.transferCount() == before.0)
    #expect(
      try lake.text("SELECT count(*) || '' FROM stored_bytes WHERE kind = 'segment' AND state = 'present'") == "1")
    for output in 0..<2 {
      #expect(try linkCount(name(lake, 1, output)) == 3)
      #expect(try inode(name(lake, 1, output)) == inode(name(lake, 2, output)))
    }
    let third = try #require(Disk.size(of: name(lake, 2, 2)))
    let segment = try #require(
      Int(lake.text("SELECT sum(byte_count) || '' FROM stored_bytes WHERE kind = 'segment' AND state = 'present'")))
    #expect(LakeFixture.byteCount(below: lake.lake + "/artifacts") == before.1 + third + segment)
    try lake.succeed(["verify"])
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["reproduce", "v@2", "--quiet"])
  }

  /// Plans the next version as tasks, and says how many there are and how many outputs were taken.
  private func plan(_ lake: LakeFixture, _ tasks: String, _ options: [String] = []) throws -> String {
    let told = try lake.succeed(["plan"] + Self.build + options + ["--tasks", tasks, "--json"]).outputText
    let document = try #require(JSONValue(parsing: told))
    let (count, taken) = (try #require(document["tasks"]?.integer), try #require(document["taken"]?.integer))
    return "\(count) and \(taken)"
  }

  private func digest(_ lake: LakeFixture) throws -> String {
    try lake.text("SELECT coalesce(version_sha256, state) FROM index_version WHERE name = 'v' AND number = 2")
  }

  /// Workers make what is new alone, and it is the version that one machine makes.
  @Test func whatIsThereIsNoTask() throws {
    let lake = try lake()
    let local = try lake.copy()
    try local.succeed(Self.build)
    let tasks = lake.directory.path + "/tasks"
    #expect(try plan(lake, tasks) == "1 and 2")
    // Planned again there is nothing left to take.
    #expect(try plan(lake, tasks) == "1 and 0")
    try lake.evict("images", [0, 1, 2, 3])
    try lake.succeed(["worker", tasks, "--task", "0", "--scratch", lake.directory.path, "--quiet"])
    try lake.succeed(["ingest", tasks, "--quiet"])
    #expect(try digest(lake) == digest(local))
    for output in 0..<2 { #expect(try inode(name(lake, 1, output)) == inode(name(lake, 2, output))) }
    try lake.succeed(["verify"])
  }

  /// Rows that must go cost workers nothing, and no shard, which may be gone everywhere.
  @Test func whatLosesRowsIsNoTaskEither() throws {
    let lake = try lake()
    try exclude(1, from: lake)
    let local = try lake.copy()
    try local.succeed(Self.build + ["--shards", "0-3"])
    try lake.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
    try lake.evict("images", [0, 1, 2, 3])
    let tasks = lake.directory.path + "/tasks"
    let shards = ["--shards", "0-3"]
    try lake.succeed(["plan"] + Self.build + shards + ["--tasks", tasks, "--dry-run"])
    let before = try lake.transferCount()
    #expect(try plan(lake, tasks, shards) == "0 and 2")
    try lake.succeed(["ingest", tasks, "--quiet"])
    #expect(try lake.transferCount() == before)
    #expect(try digest(lake) == digest(local))
    try lake.succeed(["verify"])
  }

  /// What is taken over is on the disk: a fetch beside the build leaves no room for it once more, and needs none of it.
  @Test func noRoomIsPromisedForWhatWasTaken() throws {
    let lake = try lake()
    try exclude(1, from: lake)
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    let options = BuildOptions(
      name: "v", trained: "t", images: "images", ordinals: OrdinalSet(ascending: [0, 1, 2, 3]), shardsPerOutput: 2,
      environment: "{}")
    let run = BuildRun(catalog, options, logger: Logger(label: "test"), cancellation: Cancellation()) { _ in }
    let planned = try run.prepare()
    try run.run(planned)
    #expect(planned.promised.byteCount == 0)
    #expect(try catalog.outputs(of: planned.version).map(\.rowCount) == [39, 40])
  }

  /// What a document says is made, whatever the lake has: it is to be proven.
  @Test func whatADocumentSaysIsMadeAndNotTaken() throws {
    let lake = try lake()
    try exclude(1, from: lake)
    let other = try LakeFixture.nothing()
    try other.succeed(["init", other.lake])
    for name in ["w", "x"] {
      try lake.succeed(["build", name] + Self.build.dropFirst(2) + ["--shards", "0-3"])
      let document = "\(lake.directory.path)/\(name).json"
      try Data(lake.succeed(["export", "\(name)@1"]).output).write(to: URL(fileURLWithPath: document))
      try other.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
      try other.succeed(["reproduce", "--from", document, "--allow-inside", "--patience", "0"])
      let segments = "SELECT count(*) || '' FROM stored_bytes WHERE kind = 'segment' AND state = 'present'"
      #expect(try other.text(segments) == "4", "\(name)")
    }
  }

  /// Nor for an engine, which is handed nothing.
  @Test func anEngineIsHandedNothingThatIsThere() throws {
    let lake = try lake()
    try lake.succeed(Self.build + ["--shards", "0-1,4", "--executor", "local:1"])
    #expect(try inode(name(lake, 1)) == inode(name(lake, 2)))
    #expect(
      try lake.texts("SELECT row_count || '' FROM output_shard WHERE version_id = 2 ORDER BY ordinal") == ["40", "20"])
    try lake.succeed(["verify"])
  }

  /// A shard that was a hole and is to be fetched now is no hole of another version's.
  @Test func whatWasAHoleIsFetchedAndNotShared() throws {
    let lake = try PairedShards([20, 20], seed: 9).lake()
    try lake.succeed(Self.train)
    try lake.evict("images", [1])
    try lake.succeed(Self.build + ["--missing", "skip", "--offline"])
    try lake.succeed(Self.build)
    #expect(try lake.texts("SELECT row_count || '' FROM output_shard ORDER BY version_id") == ["20", "40"])
  }

  /// Nor is one that nobody has seen yet, whose shards beside it are not taken as they were then.
  @Test func whatIsSeenFirstIsNoHole() throws {
    let lake = try PairedShards([20, 20], seed: 9).lake(synced: false)
    try lake.succeed(["source", "probe", "images", "--quiet"])
    try lake.succeed(["sync", "images", "--shards", "0", "--quiet"])
    try lake.succeed(Self.train + ["--shards", "0"])
    try lake.succeed(Self.build + ["--missing", "skip", "--offline"])
    try lake.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
    try lake.evict("images", [0])
    let dry = try lake.succeed(Self.build + ["--dry-run", "--json"]).outputText
    let steps = try #require(JSONValue(parsing: dry)?["steps"]?.elements)
    #expect(steps.contains { $0["step"]?.string == "fetching" }, "\(dry)")
    try lake.succeed(Self.build)
    #expect(try lake.texts("SELECT row_count || '' FROM output_shard ORDER BY version_id") == ["20", "40"])
  }

  /// One that is damaged is no version's: it is made of its shards again, and where these are not here that is said.
  @Test func whatIsDamagedIsMadeOfItsShards() throws {
    let lake = try lake()
    let path = try artifact(lake)
    let digest = try Disk.digest(of: path)
    try lake.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
    try lake.evict("images", [0, 1, 2, 3])
    try spoil(path)
    let offline = try lake.run(Self.build + ["--offline"])
    #expect(offline.ending == .exit(21) && offline.errorText.contains("`tarn sync images`"), "\(offline.errorText)")
    let built = try lake.succeed(Array(Self.build.dropLast()))
    #expect(built.errorText.contains("is damaged") && built.errorText.contains("`tarn verify --repair`"))
    #expect(try Disk.digest(of: name(lake, 2)) == digest && Disk.digest(of: path) == digest)
    #expect(try inode(name(lake, 1, 1)) == inode(name(lake, 2, 1)))
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["reproduce", "v@2", "--quiet"])
  }

  /// Nor do rows that must go stay because of it, which no repair brings back.
  @Test func damageKeepsNoRowThatMustGo() throws {
    let lake = try lake()
    try exclude(3, from: lake)
    try spoil(artifact(lake))
    let repaired = try lake.run(["verify", "--repair"])
    let told = repaired.outputText + repaired.errorText
    #expect(told.contains("the next `tarn build` is without them"), "\(told)")
    try lake.succeed(Self.build)
    #expect(
      try lake.texts(
        """
        SELECT o.row_count || '' FROM output_shard o JOIN index_version v ON v.id = o.version_id
        WHERE v.number = 2 ORDER BY o.ordinal
        """) == ["39", "40", "20"])
    try lake.succeed(["reproduce", "v@2", "--quiet"])
  }

  /// What was begun before anybody had seen the shards takes what another version was made of them since.
  @Test func whatWasBegunUnseenTakesWhatIsThereByNow() throws {
    let lake = try PairedShards([20, 20, 20, 20], seed: 7).lake(synced: false)
    try lake.succeed(["source", "probe", "images", "--quiet"])
    try lake.succeed(["sync", "images", "--shards", "3", "--quiet"])
    try lake.succeed(Self.train + ["--shards", "3"])
    let first = lake.directory.path + "/images/images_0.npy"
    try Disk.moveIntoPlace(first, first + ".away")
    #expect(try lake.run(Self.build).ending != .exit(0))
    try Disk.moveIntoPlace(first + ".away", first)
    try lake.succeed(["build", "w"] + Self.build.dropFirst(2))
    // As of a version that other machines made.
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/segments")
    try lake.evict("images", [0, 1, 2, 3])
    try lake.succeed(Self.build + ["--offline"])
    for output in 0..<2 {
      #expect(try inode(name(lake, 1, output)) == inode("\(lake.lake)/versions/w@1/w.00\(output).faiss"))
    }
  }

  /// A file that is there with these bytes stays when it is made again; one that is damaged is replaced.
  @Test func whatIsMadeAgainLeavesTheFileThatIsThere() throws {
    let lake = try lake()
    let path = try artifact(lake)
    let digest = try Disk.digest(of: path)
    let before = try inode(path)
    do {
      let store = ArtifactStore(try LakeCatalog.open(root: lake.lake, writing: "test"))
      let again = try store.workingPath("again")
      try FileManager.default.copyItem(atPath: path, toPath: again)
      try store.put(again, as: .outputShard, digest)
      #expect(try inode(path) == before && Disk.size(of: again) == nil)
      let good = try store.workingPath("good")
      try FileManager.default.copyItem(atPath: path, toPath: good)
      try spoil(path)
      try store.put(good, as: .outputShard, digest)
      #expect(try inode(path) != before)
    }
    #expect(try Disk.digest(of: path) == digest)
  }

  /// Names that an older tarn parted from their file are told, and become links again.
  @Test func copiesAreLinkedAgain() throws {
    let lake = try lake()
    try lake.succeed(Self.build)
    let path = try artifact(lake)
    try copyAnew(path)
    #expect(try linkCount(name(lake, 1)) == 2)
    // Both names are of one file, which is there once more than it need be.
    let size = ByteSize.text(try #require(Disk.size(of: path)))
    let note = try #require(copies(lake).first)
    #expect(note.what.hasPrefix("2 names of outputs") && note.what.contains(": \(size) are on the disk a second time"))
    #expect(note.level == .note && note.fix?.contains("`tarn verify --repair`") ?? false)
    let said = try lake.succeed(["verify"]).outputText
    #expect(said.contains("2 names of outputs beside the files in artifacts/") && said.contains("--repair links them"))
    #expect(try lake.succeed(["verify", "--repair"]).outputText.contains("linked again"))
    #expect(try linkCount(path) == 3 && inode(name(lake, 1)) == inode(path))
    #expect(!(try lake.succeed(["verify"]).outputText.contains("names of outputs")))
    #expect(try copies(lake).isEmpty)
  }

  /// What `doctor` says of names that are copies.
  private func copies(_ lake: LakeFixture) throws -> [Finding] {
    try LakeExamination(LakeCatalog.open(root: lake.lake, writing: nil)).findings().filter { $0.check == "copies" }
  }

  /// Four bytes that somebody overwrote are mended under every name in one repair, and what is revoked keeps none.
  @Test func oneRepairMendsEveryName() throws {
    let lake = try lake()
    try lake.succeed(Self.build)
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    try lake.succeed(["revoke", "v@1", "--reason", "test"])
    let path = try artifact(lake)
    // A good copy is left under one name alone.
    let good = "\(lake.lake)/versions/w@1/w.000.faiss"
    try copyAnew(good)
    let digest = try Disk.digest(of: path)
    try spoil(path)
    let repaired = try lake.run(["verify", "--repair"])
    #expect(repaired.ending == .exit(20) && repaired.outputText.contains("restored"), "\(repaired.outputText)")
    for name in [path, good, name(lake, 1), name(lake, 2)] {
      #expect(try Disk.digest(of: name) == digest, "\(name)")
      #expect(try inode(name) == inode(path), "\(name)")
    }
    try lake.succeed(["verify"])
    try lake.succeed(["gc", "--grace", "0s", "--apply"])
    #expect(Disk.size(of: name(lake, 1)) == nil && Disk.size(of: name(lake, 2)) != nil)
    #expect(Disk.size(of: lake.lake + "/versions/v@1/v.lock.json") != nil)
    try lake.succeed(["verify"])
  }

  private func spoil(_ path: String) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.seek(toOffset: 64)
    try file.write(contentsOf: Data([0xFF, 0xFF, 0xFF, 0xFF]))
    try file.close()
  }
}
