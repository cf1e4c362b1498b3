// What `tarn doctor` finds: each finding brought about, and told from its
// neighbours; where a command mends it, that command is run.

import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct DoctorTests {
  private static let gibibyte = 1 << 30

  /// A machine on which nothing is remarkable.
  private func calm() -> LakeSurroundings {
    var machine = LakeSurroundings.current
    machine.sqliteVersion = "3.51.3"
    machine.mountInfo = "1 0 8:1 / / rw - ext4 /dev/sda rw"
    machine.lockTable = ""
    machine.freeSpace = { _ in .init(byteCount: 10 * Self.gibibyte, volume: "1") }
    return machine
  }

  /// What an examination finds that is not ok.
  private func remarks(_ lake: LakeFixture, _ surroundings: LakeSurroundings? = nil) throws -> [Finding] {
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    return try LakeExamination(catalog, surroundings: surroundings ?? calm()).findings().filter { $0.level != .ok }
  }

  /// The one remark of a lake.
  private func remark(
    _ lake: LakeFixture, _ surroundings: LakeSurroundings? = nil, location: SourceLocation = #_sourceLocation
  ) throws -> Finding {
    let remarks = try remarks(lake, surroundings)
    #expect(remarks.count == 1, "\(remarks)", sourceLocation: location)
    return try #require(remarks.first, sourceLocation: location)
  }

  private func write(_ text: String, to path: String) throws {
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try text.write(toFile: path, atomically: false, encoding: .utf8)
  }

  /// A directory of another user's that holds nothing is in nobody's way.
  @Test func anEmptiedDirectoryOfSomebodyElseIsNoMatter() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    for name in ["versions/old@1", "artifacts/outputs/zz"] {
      try FileManager.default.createDirectory(
        atPath: "\(lake.lake)/\(name)", withIntermediateDirectories: true)
    }
    var machine = calm()
    machine.mayWrite = { path in !["/old@1", "/zz"].contains { path.hasSuffix($0) } }
    #expect(try remarks(lake, machine).isEmpty)
    machine.mayWrite = { !$0.hasSuffix("/v@1") }
    #expect(try remark(lake, machine).what.contains("versions/v@1, of "))
  }

  // MARK: The machine

  @Test(arguments: LakeStage.allCases) func hasNothingToSayOfASoundLake(stage: LakeStage) throws {
    #expect(try remarks(LakeFixture.make(stage, keepingLinks: true)).isEmpty)
  }

  @Test(arguments: [
    ("3.6.23", false), ("3.7.0", true), ("3.40.1", true), ("3.44.5", true), ("3.44.6", false), ("3.45.0", true),
    ("3.50.6", true), ("3.50.7", false), ("3.51.2", true), ("3.51.3", false), ("3.52.0", false), ("4.0.0", false),
  ])
  func knowsTheVersionsOfSQLiteWithTheResetRace(version: String, isAffected: Bool) throws {
    var machine = calm()
    machine.sqliteVersion = version
    let remarks = try remarks(LakeFixture.make(.empty), machine)
    #expect(remarks.map(\.level) == (isAffected ? [.note] : []))
    #expect(remarks.allSatisfy { $0.check == "sqlite" && $0.what.contains(version) })
  }

  @Test(arguments: ["nfs4", "cifs", "9p", "fuse.sshfs"]) func warnsOfNetworkFileSystems(type: String) throws {
    let lake = try LakeFixture.make(.empty)
    var machine = calm()
    machine.mountInfo += "\n2 1 0:5 / \(lake.directory.path) rw shared:1 - \(type) server:/x rw"
    let remark = try remark(lake, machine)
    #expect((remark.level, remark.check) == (.warning, "filesystem"))
    #expect(remark.what.contains(type))
  }

  @Test func findsTheFileSystemByTheLongestAndLatestMount() {
    var machine = calm()
    machine.mountInfo = """
      1 0 8:1 / / rw - ext4 /dev/sda rw
      2 1 8:2 / /data rw - xfs /dev/sdb rw
      3 2 0:5 / /data/far\\040away rw,noatime master:1 propagate_from:2 - nfs4 server:/x rw
      4 2 0:6 / /data/twice rw - nfs server:/y rw
      5 4 8:3 / /data/twice rw - btrfs /dev/sdc rw
      """
    #expect(machine.fileSystemType(of: "/home/lake") == "ext4")
    #expect(machine.fileSystemType(of: "/database") == "ext4")
    #expect(machine.fileSystemType(of: "/data") == "xfs")
    #expect(machine.fileSystemType(of: "/data/far away/lake") == "nfs4")
    #expect(machine.fileSystemType(of: "/data/twice/lake") == "btrfs")
  }

  @Test func warnsWhenThereIsLittleRoom() throws {
    let lake = try LakeFixture.make(.empty)
    var machine = calm()
    machine.freeSpace = { directory in
      .init(byteCount: directory.hasSuffix("/shards") ? 999_999_999 : 5_000_000_000, volume: directory)
    }
    let remark = try remark(lake, machine)
    #expect((remark.level, remark.check) == (.warning, "space"))
    #expect(remark.what.contains("\(lake.lake)/shards"))
  }

  @Test func findsAFullDisk() throws {
    let lake = try LakeFixture.make(.empty)
    var machine = calm()
    machine.freeSpace = { _ in .init(byteCount: 0, volume: "1") }
    let remark = try remark(lake, machine)
    #expect((remark.level, remark.check) == (.problem, "space"))
    #expect(remark.what.contains("the disk is full") && remark.fix?.contains("`tarn gc --apply`") == true)
  }

  @Test(arguments: [("ro,noatime", "rw"), ("rw", "ro")])
  func notesAMountThatTakesNothing(mount: String, itself: String) throws {
    let lake = try LakeFixture.make(.empty)
    var machine = calm()
    let line = "2 1 8:2 / \(lake.directory.path) \(mount) shared:1 - ext4 /dev/sdb \(itself),errors=remount-ro"
    machine.mountInfo += "\n\(line)"
    let remark = try remark(lake, machine)
    #expect((remark.level, remark.check) == (.note, "filesystem"))
    #expect(remark.what.contains("is mounted read-only"))
  }

  @Test func seesThisMachineAsItIs() throws {
    let lake = try LakeFixture.make(.empty)
    let machine = LakeSurroundings.current
    #expect(machine.fileSystemType(of: lake.lake) != nil)
    #expect(machine.freeSpace(lake.lake).map { $0.byteCount > 0 } == true)
    #expect(machine.writer(of: lake.lake + "/tarn.lock") == nil)
    let lock = try WriterLock(path: lake.lake + "/tarn.lock", command: "a test")
    withExtendedLifetime(lock) {
      #expect(LakeSurroundings.current.writer(of: lake.lake + "/tarn.lock")?.contains("a test") == true)
    }
  }

  // MARK: The catalog

  @Test func warnsOfAnotherJournalModeUntilTheNextWriter() throws {
    let lake = try LakeFixture.make(.synced)
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
    try queue.close()
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.warning, "journal"))
    try lake.succeed(["sync", "--quiet"])
    #expect(try remarks(lake).isEmpty)
  }

  @Test func findsADamagedCatalog() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let page = try #require(
      Int(lake.text("SELECT CAST(rootpage AS TEXT) FROM sqlite_schema WHERE name = 'shard_by_state'")))
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: lake.lake + "/catalog.sqlite"))
    try file.seek(toOffset: UInt64((page - 1) * 4096))
    try file.write(contentsOf: Data(repeating: 0xA5, count: 64))
    try file.close()
    let remarks = try remarks(lake)
    #expect(remarks.contains { $0.level == .problem && $0.check == "integrity" }, "\(remarks)")
    let result = try lake.run(["doctor", "--quiet"])
    #expect(result.ending == .exit(20))
    #expect(result.outputText.contains("problem  the catalog is damaged"))
    #expect(result.errorLines.count == 1)
  }

  @Test func warnsOfWrongTotalsUntilTheyAreCountedAgain() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    try lake.tamper("UPDATE shard_total SET shard_count = 7 WHERE state = 'present'", recounting: false)
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.warning, "totals"))
    #expect(remark.what.contains("shard_total"))
    try lake.succeed(["doctor", "--recount"])
    #expect(try remarks(lake).isEmpty)
  }

  @Test func findsAChangedHistory() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.tamper("UPDATE event SET subject = 'another' WHERE seq = 2")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.problem, "history"))
    #expect(remark.what.contains("event 2"))
  }

  @Test func notesARemovalHalfDone() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let path = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'segment' LIMIT 1")
    try lake.tamper("UPDATE stored_bytes SET state = 'deleting', deleting_at = '2026' WHERE path = '\(path)'")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.note, "removal"))
    #expect(remark.what.contains(path))
    try lake.succeed(["gc", "--apply"])
    #expect(try remarks(lake).filter { $0.check != "totals" }.isEmpty)
  }

  @Test func findsRowsThatReferToNothing() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.tamper("DELETE FROM mirror WHERE id = 1")
    let remarks = try remarks(lake)
    #expect(!remarks.isEmpty)
    #expect(remarks.allSatisfy { $0.level == .problem && $0.check == "references" && $0.what.contains("mirror") })
  }

  // MARK: Work under way

  @Test func notesReservationsWithoutAnOwner() throws {
    let lake = try LakeFixture.make(.registered)
    do {
      let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
      let shard = try catalog.shards(of: catalog.source(named: "images"))[1]
      #expect(try catalog.reserve(shard, byteCount: 77, budget: nil))
      // While its owner lives, there is nothing to be done about it.
      let remarks = try remarks(lake, LakeSurroundings.current).filter { $0.check != "sqlite" }
      #expect(remarks.map(\.check) == ["writer", "settling"])
      #expect(remarks.allSatisfy { $0.level == .note && $0.fix == nil })
    }
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.note, "settling"))
    #expect(remark.what.contains("77 bytes are reserved for images/img_1.npy"))
    try lake.succeed(["sync", "--quiet"])
    #expect(try remarks(lake).isEmpty)
  }

  /// Of a pod that was killed: it keeps everybody from writing, and no lock here tells of it.
  @Test func warnsOfALeaseOfAnotherHost() throws {
    let lake = try LakeFixture.make(.registered)
    let path = lake.lake + "/leases/4242-dead"
    try write(
      #"{"format":1,"pid":4242,"command":"sync images","since":"2026-01-01T00:00:00Z","host":"pod-7","boot":"0","#
        + #""leases":["add source images"]}"#, to: path)
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.warning, "writer"))
    #expect(remark.what.contains("pid 4242 on pod-7, sync images, since 2026"))
    #expect(remark.fix?.hasSuffix("remove \(path)") == true)
    #expect(try lake.run(["sync", "--quiet"]).ending == .exit(11))
    let told = try lake.run(["doctor", "--quiet"])
    #expect(told.ending == .exit(0) && told.outputText.contains("warning  another host has this lake open"))
    try FileManager.default.removeItem(atPath: path)
    #expect(try remarks(lake).isEmpty)
  }

  @Test func notesAnEvictionHalfDone() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.tamper("UPDATE shard SET state = 'evicting' WHERE name = 'img_0.npy'")
    try FileManager.default.removeItem(
      atPath: lake.lake + "/shards/" + lake.text("SELECT path FROM v_shard WHERE shard = 'img_0.npy'"))
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.note, "settling"))
    #expect(remark.what.contains("images/img_0.npy is half evicted"))
  }

  @Test func notesUnfinishedTrainingsAndBuilds() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    try lake.tamper(
      """
      INSERT INTO trained_index (name, state, method, codec, nlist, dimension, iterations, seed, pair_count,
        image_source_id, caption_source_id, spec, spec_sha256, created_at)
      SELECT 'half', 'training', method, codec, nlist, dimension, iterations, 7, pair_count, image_source_id,
        caption_source_id, spec, lower(hex(zeroblob(32))), created_at FROM trained_index;
      INSERT INTO index_version (name, number, state, trained_index_id, source_id, shards_per_output, missing_policy,
        bad_rows_policy, spec, spec_sha256, environment, created_at)
      SELECT name, 2, 'building', trained_index_id, source_id, shards_per_output, missing_policy, bad_rows_policy, spec,
        lower(hex(zeroblob(32))), environment, created_at FROM index_version
      """)
    let remarks = try remarks(lake)
    #expect(remarks.map(\.level) == [.note, .note])
    #expect(remarks[0].what.contains("half") && remarks[0].fix?.contains("`tarn train`") == true)
    #expect(remarks[1].what.contains("v@2") && remarks[1].fix?.contains("`tarn build`") == true)
  }

  // MARK: Rows without files

  @Test(arguments: [true, false]) func findsAShardThatIsGoneOrCutShort(isGone: Bool) throws {
    let lake = try LakeFixture.make(.synced)
    let path = lake.lake + "/shards/" + (try lake.text("SELECT path FROM v_shard WHERE shard = 'img_1.npy'"))
    if isGone { try FileManager.default.removeItem(atPath: path) } else { truncate(path, 100) }
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.problem, "shards"))
    #expect(remark.what.contains("images/img_1.npy"))
    #expect(remark.what.contains(isGone ? "is not at" : "has 100 bytes"))
    #expect(remark.fix == "`tarn sync images --shards 1`")
    try lake.succeed(["sync", "images", "--shards", "1", "--quiet"])
    #expect(try remarks(lake).isEmpty)
  }

  @Test(arguments: ["trained-index", "nearest-images", "segment", "output-shard"])
  func findsAnArtifactThatIsGone(kind: String) throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let path = try lake.text("SELECT path FROM stored_bytes WHERE kind = '\(kind)' LIMIT 1")
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/" + path)
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.problem, "artifacts"))
    #expect(remark.what.contains(kind) && remark.what.contains(path))
    #expect(remark.fix != nil)
  }

  /// What is said to mend an output does, and what is not there is not said to be deleted.
  @Test func whatItSaysOfAnArtifactThatIsGoneCanBeDone() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let output = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'output-shard' LIMIT 1")
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/" + output)
    #expect(try remark(lake).fix?.hasPrefix("`tarn verify --repair` ") == true)
    // 20: it was found.
    let mended = try lake.run(["verify", "--repair", "--quiet"])
    #expect(mended.ending == .exit(20), "\(mended.errorText)")
    #expect(try remarks(lake).isEmpty)
    let nearest = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'nearest-images' LIMIT 1")
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/" + nearest)
    #expect(try remark(lake).fix == "the next command that needs it makes it again")
  }

  @Test func namesTheFirstAndCountsTheRest() throws {
    let lake = try LakeFixture.make(.empty)
    for number in 10..<35 { try write("x", to: "\(lake.lake)/shards/stray-\(number)") }
    let remarks = try remarks(lake)
    #expect(remarks.count == 11)
    #expect(remarks[9].what.hasSuffix("stray-19"))
    #expect(remarks[10].what == "and 15 more like these")
  }

  @Test func warnsWhenAVersionLostItsNames() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    try FileManager.default.removeItem(atPath: lake.lake + "/versions/v@1/v.001.faiss")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.warning, "versions"))
    #expect(remark.what.contains("v@1 has no output 1"))
    for arguments in LakeStage.built.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    #expect(try remarks(lake).isEmpty)
  }

  @Test func findsAChangedLockFile() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    try write("{}", to: lake.lake + "/versions/v@1/v.lock.json")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.problem, "versions"))
    #expect(remark.what.contains("lock file of v@1"))
  }

  @Test(arguments: ["shards", "artifacts"]) func findsAMissingDirectory(name: String) throws {
    let lake = try LakeFixture.make(.empty)
    try FileManager.default.removeItem(atPath: "\(lake.lake)/\(name)")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (.problem, name))
    #expect(remark.what.contains("\(lake.lake)/\(name)"))
  }

  // MARK: Files without rows

  @Test(arguments: [
    ("shards/images/other.npy", Finding.Level.warning, "unknown"),
    ("shards/images/other.npy.part", .warning, "unknown"),
    ("shards/images/img_0.npy.part", .note, "partial"),
    ("shards/images/img_0.npy.part.resume", .note, "partial"),
    ("shards/images/img_0.npy.part.resume.tmp", .note, "leftover"),
    ("artifacts/outputs/ab/abcd.faiss", .warning, "unknown"),
    ("artifacts/.work/output-1-0.faiss", .note, "work"),
    ("versions/v@1/v.lock.json.tmp", .note, "leftover"),
    ("scratch/train-ab/kmeans.state", .note, "scratch"),
  ])
  func tellsWhatAFileWithoutARowIs(path: String, level: Finding.Level, check: String) throws {
    let lake = try LakeFixture.make(.synced)
    try write("x", to: "\(lake.lake)/\(path)")
    let remark = try remark(lake)
    #expect((remark.level, remark.check) == (level, check), "\(remark)")
    #expect(remark.fix != nil)
    #expect(remark.what.contains(check == "scratch" ? "1 file" : path.split(separator: "/", maxSplits: 1)[1]))
  }

  // MARK: The verb

  @Test func readsAloneAndSaysSoInLines() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let before = try lake.contents()
    let lock = try WriterLock(path: lake.lake + "/tarn.lock", command: "a test")
    let result = try withExtendedLifetime(lock) { try lake.run(["doctor"]) }
    #expect(result.ending == .exit(0))
    #expect(result.errors.isEmpty)
    let levels = Set(result.outputText.split(separator: "\n").map { $0.prefix { $0 != " " } })
    #expect(levels.isSubset(of: ["ok", "note", "warning"]))
    #expect(result.outputText.contains("note     another tarn is writing"))
    #expect(try lake.contents() == before)
  }

  /// Under cron whatever is printed is a mail.
  @Test func printsNothingOfALakeThatIsWellIfItIsToBeQuiet() throws {
    let lake = try LakeFixture.make(.built, keepingLinks: true)
    let lock = try WriterLock(path: lake.lake + "/tarn.lock", command: "a test")
    let results = try withExtendedLifetime(lock) {
      try (lake.run(["doctor"]), lake.run(["doctor", "--quiet"]))
    }
    #expect(results.0.outputText.contains("note     "))
    let told = results.1.outputText.split(separator: "\n")
    // How much room this machine has is its own affair.
    #expect(told.allSatisfy { $0.hasPrefix("warning") && $0.contains(" free at ") }, "\(told)")
    try lake.tamper("UPDATE shard_total SET shard_count = 7 WHERE state = 'present'", recounting: false)
    #expect(try lake.run(["doctor", "--quiet"]).outputText.contains("warning  "))
  }

  @Test func endsWithTwentyAndItsFindingsAsJSON() throws {
    let lake = try LakeFixture.make(.synced)
    try FileManager.default.removeItem(
      atPath: lake.lake + "/shards/" + lake.text("SELECT path FROM v_shard WHERE shard = 'img_0.npy'"))
    let result = try lake.run(["doctor", "--json"])
    #expect(result.ending == .exit(20))
    #expect(result.errorText == "tarn: 1 problem found\n")
    let first = try #require(result.outputText.split(separator: "\n").first)
    let document = try JSONSerialization.jsonObject(with: Data(first.utf8)) as? [String: Any]
    #expect(document?["problems"] as? Int == 1)
    let findings = try #require(document?["findings"] as? [[String: Any]])
    let problems = findings.filter { $0["level"] as? String == "problem" }
    #expect(problems.map { $0["fix"] as? String } == ["`tarn sync images --shards 0`"])
  }
}
