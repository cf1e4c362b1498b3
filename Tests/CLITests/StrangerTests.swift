// A catalog that was put back from an older copy does not know what was sealed
// since: nothing of that is replaced, its numbers are taken, and who writes is told.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct StrangerTests {
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet",
  ]

  /// A lake in which v@1 was sealed after its catalog was copied, and that copy
  /// put back, as `tarn help backup` says.
  private func restored(from stage: LakeStage = .trained) throws -> (lake: LakeFixture, sealed: [String]) {
    let lake = try LakeFixture.make(stage)
    let copy = lake.directory.path + "/older.sqlite"
    try lake.succeed(["backup", copy])
    for step in LakeStage.allCases where step.rawValue > stage.rawValue {
      for arguments in step.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    }
    let sealed = try lake.files()
    try putBack(copy, in: lake)
    return (lake, sealed)
  }

  private func putBack(_ copy: String, in lake: LakeFixture) throws {
    for suffix in ["-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try FileManager.default.copyItem(atPath: copy, toPath: lake.lake + "/catalog.sqlite")
  }

  /// What was taken out since is there again, which nothing in the lake tells: a head that was noted then does.
  @Test func aHeadThatWasNotedTellsThatTakedownsAreForgotten() throws {
    let lake = try LakeFixture.make(.built)
    let (copy, ids) = (lake.directory.path + "/older.sqlite", lake.directory.path + "/ids.txt")
    try lake.succeed(["backup", copy])
    try Disk.writeAtomically(Array("3\n".utf8), to: ids)
    let exclude = ["exclude", "images", "--ids", ids, "--reason", "case 17"]
    try lake.succeed(exclude)
    let head = try #require(lake.texts("SELECT hash FROM v_event ORDER BY seq DESC LIMIT 1").first)
    let check = ["verify", "--budget", "1s", "--expect", head]
    try lake.succeed(check)
    try putBack(copy, in: lake)
    #expect(try lake.text("SELECT count(*) FROM v_exclusion") == "0")
    try lake.succeed(["doctor"])
    let verify = try lake.run(check)
    #expect(verify.ending == .exit(20) && verify.outputText.contains("has no event with the hash \(head)"))
    try lake.succeed(exclude)
    #expect(try lake.text("SELECT count(*) FROM v_exclusion") == "1")
    let help = try lake.succeed(["backup", "--help"]).outputText
    for word in ["excluded", "revoked", "pins", "sealed", "--expect"] { #expect(help.contains(word), "\(word)") }
  }

  @Test func theNextNumberIsTakenAndNothingIsReplaced() throws {
    let (lake, sealed) = try restored()
    let result = try lake.succeed(Self.build + ["--bad-rows", "skip"])
    #expect(result.errorText.contains("holds v@1, which the catalog does not know"))
    #expect(result.errorText.contains("`tarn rebuild-catalog`"))
    #expect(try lake.texts("SELECT version FROM v_version") == ["v@2"])
    #expect(Set(sealed).subtracting(try lake.files()).isEmpty)
    // The same build again is the same version.
    try lake.succeed(Self.build + ["--bad-rows", "skip"])
    #expect(try lake.texts("SELECT version FROM v_version") == ["v@2"])
  }

  @Test(arguments: [
    ["verify"], ["gc", "--apply"], ["train", "u", "--images", "images", "--method", "kmeans", "--nlist", "2"], ["sync"],
    ["evict", "captions"], build, build + ["--missing", "skip"],
  ])
  func everyCommandThatWritesNamesIt(arguments: [String]) throws {
    let (lake, sealed) = try restored()
    let result = try lake.run(arguments)
    #expect(result.errorText.contains("versions/v@1 holds v@1, which the catalog does not know"))
    #expect(result.ending == .exit(arguments == ["verify"] ? 20 : 0), "\(result.errorText)")
    let versions = Set(sealed.filter { $0.hasPrefix("versions/v@1") || $0.hasPrefix("artifacts/outputs") })
    #expect(try versions.subtracting(lake.files()).isEmpty)
  }

  @Test func verifyAndDoctorNameItAndAdviseNoDeletion() throws {
    let (lake, _) = try restored(from: .registered)
    let verify = try lake.run(["verify", "--json"])
    #expect(verify.ending == .exit(20))
    #expect(verify.outputText.contains("\"unknown_versions\":[\"v@1\"]"))
    let doctor = try lake.run(["doctor"])
    #expect(doctor.ending == .exit(20))
    #expect(doctor.outputText.contains("holds v@1, which the catalog does not know"))
    // The catalog knows no file of the lake, and a version needs them: no advice to delete one of these.
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    let needed = try #require(catalog.strangers().first).digests.map { String($0.hex.prefix(16)) }
    let lines = doctor.outputText.split(separator: "\n").filter { line in needed.contains { line.contains($0) } }
    #expect(lines.count >= 5)
    #expect(!lines.contains { $0.contains("delete") }, "\(lines)")
  }

  @Test func theAdviceWorks() throws {
    let (lake, sealed) = try restored()
    let refused = try lake.run(["rebuild-catalog"])
    #expect(refused.ending == .exit(64))
    #expect(refused.errorText.contains("move catalog.sqlite aside and run `tarn rebuild-catalog`"))
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.moveItem(
        atPath: lake.lake + "/catalog.sqlite" + suffix, toPath: lake.directory.path + "/aside" + suffix)
    }
    try lake.succeed(["rebuild-catalog"])
    #expect(try lake.texts("SELECT version FROM v_version") == ["v@1"])
    #expect(try lake.files() == sealed)
    #expect(try lake.succeed(["verify"]).errorText.isEmpty)
  }

  @Test func whatAStrangerNeedsIsNoGarbage() throws {
    let (lake, sealed) = try restored()
    // The older catalog knows the trained index, which no version of it needs, and a version with the same outputs.
    try lake.succeed(Self.build)
    try lake.succeed(["revoke", "v@2", "--reason", "a test"])
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s"])
    let kept = sealed.filter { $0.hasPrefix("artifacts/outputs") || $0.hasPrefix("artifacts/trained") }
    #expect(!kept.isEmpty)
    #expect(try Set(kept).subtracting(lake.files()).isEmpty)
  }

  /// A build that was under way in the copy meets what was sealed under its number.
  @Test func aBuildUnderWayGivesWayToWhatWasSealed() throws {
    let lake = try LakeFixture.make(.trained)
    let log = lake.directory.path + "/steps"
    // Dies when the first output is recorded.
    let undisturbed = try lake.copy()
    _ = try undisturbed.run(Self.build, environment: ["TARN_FAULT_LOG": log])
    let steps = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    let step = try #require(steps.firstIndex { $0.hasSuffix(" commit seal") }) + 1
    for died in [step - 20, step] {
      let lake = try lake.copy()
      _ = try lake.run(Self.build, environment: ["TARN_FAULT": "kill@\(died)"])
      let copy = lake.directory.path + "/older.sqlite"
      try lake.succeed(["backup", copy])
      // Its own files are its own: it goes on.
      let own = try lake.copy()
      #expect(try own.succeed(Self.build).errorText.isEmpty)
      #expect(try own.texts("SELECT version FROM v_version WHERE state = 'sealed'") == ["v@1"])
      // Another lock file under its number is not.
      let lock = lake.lake + "/versions/v@1/v.lock.json"
      try Disk.makeDirectory(lake.lake + "/versions/v@1")
      let text = "{\"format\":\"tarn-version-1\",\"version\":\"v@1\",\"trained\":{}}"
      try Data(text.utf8).write(to: URL(fileURLWithPath: lock))
      let result = try lake.succeed(Self.build)
      #expect(result.errorText.contains("which the catalog does not know"))
      #expect(try lake.texts("SELECT version FROM v_version WHERE state = 'sealed'") == ["v@2"])
      #expect(try String(contentsOfFile: lock, encoding: .utf8) == text)
    }
  }

  /// A directory alone takes its number, however it came there; names that are no version's take none.
  @Test func aDirectoryTakesItsNumber() throws {
    let lake = try LakeFixture.make(.trained)
    for name in ["v@3", "v@007", "w@9", "v@0", "v@9223372036854775807", "v", "@9", "v@\u{1B}9"] {
      try Disk.makeDirectory("\(lake.lake)/versions/\(name)")
    }
    #expect(try lake.succeed(Self.build).errorText.isEmpty)
    #expect(try lake.texts("SELECT version FROM v_version") == ["v@4"])
  }

  @Test func aLakeThatLostItsCatalogIsNotMadeAnew() throws {
    let lake = try LakeFixture.make(.built)
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    for arguments in [["status"], ["sync"], ["doctor"]] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(10))
      #expect(result.errorText.contains("make it again with `tarn rebuild-catalog`"), "\(arguments)")
    }
    let made = try lake.run(["init", lake.lake])
    #expect(made.ending == .exit(64))
    #expect(made.errorText.contains("make it again with `tarn rebuild-catalog`"))
    try lake.succeed(["rebuild-catalog"])
    try lake.succeed(["verify"])
  }

  /// Nothing sealed, so no catalog can be made again: nor is one made on top.
  @Test(arguments: [LakeStage.synced, .trained])
  func aLakeOfShardsAloneIsNotMadeAnew(stage: LakeStage) throws {
    let lake = try LakeFixture.make(stage)
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    for (arguments, code) in [(["status"], 10), (["init", lake.lake], 64)] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(Int32(code)))
      #expect(
        result.errorText.contains("rebuild-catalog") && result.errorText.contains("shards/"), "\(result.errorText)")
    }
    // What is advised works.
    for name in ["shards", "artifacts"] {
      try FileManager.default.moveItem(atPath: "\(lake.lake)/\(name)", toPath: "\(lake.directory.path)/\(name)")
    }
    try lake.succeed(["init", lake.lake])
  }

  /// What a sealed version's lock file was is kept, when another one lay in its place.
  @Test func anotherSealingIsKeptWhenALockFileIsRestored() throws {
    let lake = try LakeFixture.make(.built)
    let lock = lake.lake + "/versions/v@1/v.lock.json"
    let own = try String(contentsOfFile: lock, encoding: .utf8)
    let other = own.replacing("\"first_id\":0", with: "\"first_id\":1")
    for text in [other, "damaged"] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: lock))
      #expect(try lake.run(["verify", "--repair"]).ending == .exit(20))
      #expect(try String(contentsOfFile: lock, encoding: .utf8) == own)
    }
    #expect(try String(contentsOfFile: lock + ".other-1", encoding: .utf8) == other)
    #expect(Disk.size(of: lock + ".other-2") == nil)
  }
}

/// The same bytes for two purposes: an output without rows is the file of its
/// trained index.
@Suite struct SameBytesTests {
  @Test(arguments: [false, true]) func anOutputWithoutRowsIsSealed(isRouted: Bool) throws {
    let lake = try LakeFixture.make(.synced)
    let shards = lake.directory.path + "/some"
    try Disk.makeDirectory(shards)
    for ordinal in 0..<3 {
      let rows = ordinal == 2 ? 0 : 20
      try Data(FeatureBytes.npy(rows, dimension: 8, seed: UInt64(ordinal + 1))).write(
        to: URL(fileURLWithPath: "\(shards)/\(ordinal).npy"))
    }
    let sizes = lake.directory.path + "/sizes"
    let listed = try (0..<3).map {
      "\($0).npy, \(try #require(Disk.size(of: "\(shards)/\($0).npy"))), \($0 == 2 ? 0 : 20)\n"
    }.joined()
    try Data(listed.utf8).write(to: URL(fileURLWithPath: sizes))
    try lake.succeed(["source", "add", "some", "--directory", shards, "--dimension", "8", "--sizes", sizes])
    try FileManager.default.removeItem(atPath: shards + "/1.npy")
    _ = try lake.run(["sync", "--quiet"])
    let router = isRouted ? ["--captions", "captions", "--router", "caption-mean"] : []
    try lake.succeed(
      ["train", "k", "--images", "images", "--method", "kmeans", "--nlist", "3", "--quiet"] + router)
    let build = [
      "build", "b", "--trained", "k", "--images", "some", "--shards-per-output", "1", "--missing", "skip", "--quiet",
    ]
    try lake.succeed(build)
    #expect(try lake.texts("SELECT CAST(rows AS TEXT) FROM v_output_shard ORDER BY output") == ["20", "0", "0"])
    // Only without a router is the trained index such a file.
    let trained = try lake.text("SELECT sha256 FROM v_trained_index WHERE trained_index = 'k'")
    let outputs = try lake.texts("SELECT sha256 FROM v_output_shard ORDER BY output")
    #expect(outputs[1] == outputs[2] && (outputs[1] == trained) == !isRouted)
    try lake.succeed(build)
    #expect(try lake.succeed(["verify"]).outputText.contains(" 0 damaged"))
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    #expect(try catalog.unknownFiles().isEmpty)
    #expect(try lake.succeed(["reproduce", "b@1"]).outputText.contains("identical"))
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["search", "b@1", "--queries", queries])
    // Recovery knows both purposes, too.
    let lost = try lake.copy()
    try FileManager.default.removeItem(atPath: lost.lake + "/catalog.sqlite")
    try lost.succeed(["rebuild-catalog"])
    try lost.succeed(["verify"])
    #expect(try lost.texts("SELECT sha256 FROM v_output_shard ORDER BY output") == outputs)
    // The version goes, the trained index stays, and the other way round the bytes stay for the version.
    try lake.succeed(["revoke", "b@1", "--reason", "a test"])
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s"])
    try lake.succeed(["build", "c", "--trained", "k", "--images", "images", "--quiet"])
    try lake.succeed(["verify"])
  }
}
