// Rows that were excluded, in a lake that lost its catalog: a takedown stands unless this
// lake's own later version shows that it was taken back.

import Base
import Foundation
import TestSupport
import Testing

@Suite(.tags(.slow)) struct RebuildExclusionTests {
  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
  ]

  private static func build(_ name: String, perOutput: Int = 2) -> [String] {
    ["build", name, "--trained", "t", "--images", "images", "--shards-per-output", "\(perOutput)", "--quiet"]
  }

  /// A lake of 17 rows with a trained index.
  private func trainedLake() throws -> LakeFixture {
    let lake = try PairedShards([9, 8], seed: 5).lake()
    try lake.succeed(Self.train)
    return lake
  }

  private func exclude(_ lake: LakeFixture, _ ids: [Int], _ options: String...) throws {
    let file = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array(ids.map { "\($0)\n" }.joined().utf8), to: file)
    try lake.succeed(["exclude", "images", "--ids", file, "--reason", "case 17"] + options)
  }

  private func rebuild(_ lake: LakeFixture) throws -> String {
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    return try lake.succeed(["rebuild-catalog"]).outputText
  }

  private func excluded(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT row || '' FROM v_exclusion WHERE kind = 'exclude' ORDER BY ordinal, row")
  }

  private func rowCount(_ lake: LakeFixture, _ version: String) throws -> String {
    try lake.text("SELECT rows || '' FROM v_version WHERE version = '\(version)'")
  }

  /// Whose rows an adopted version has is in the catalog alone: what is excluded of them is found again, which is said.
  @Test func whoseRowsAnAdoptedVersionHasIsToBeSaidAgain() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v"))
    let ending = ["--trained", "t", "--source", "images", "--quiet"]
    try lake.succeed(["adopt", "version", "a", "\(lake.lake)/versions/v@1/v.000.faiss"] + ending)
    try exclude(lake, [3])
    try lake.succeed(Self.build("v"))
    let said = try rebuild(lake)
    #expect(said.contains("whose rows the ids of a@1 count is not known any more"), "\(said)")
    #expect(said.contains("the files in versions/a@1 under another name"), "\(said)")
    #expect(said.contains("`tarn revoke a@1 --reason TEXT`"), "\(said)")
    #expect(try lake.run(["locate", "a@1", "3"]).ending == .exit(64))
    // As it says.
    try lake.succeed(["adopt", "version", "b", "\(lake.lake)/versions/a@1/a.000.faiss"] + ending)
    try lake.succeed(["revoke", "a@1", "--reason", "a test"])
    let located = try lake.succeed(["locate", "b@1", "3"])
    #expect(located.errorText.contains("row 3 of b@1 is excluded"), "\(located.errorText)")
    // What is revoked is searched by nobody.
    #expect(try rebuild(lake).contains("whose rows the ids of b@1 count"))
  }

  /// A lock file that was written again, or restored without its time, is newer than those above it.
  @Test func aLowerNumberTellsNothingWhateverItsTime() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v"))
    try exclude(lake, [3, 5])
    try lake.succeed(Self.build("v"))
    try FileManager.default.setAttributes(
      [.modificationDate: Date().addingTimeInterval(3600)], ofItemAtPath: lake.lake + "/versions/v@1/v.lock.json")
    let said = try rebuild(lake)
    #expect(!said.contains("not excluded any more"), "\(said)")
    #expect(try excluded(lake) == ["3", "5"])
    try lake.succeed(Self.build("v", perOutput: 1))
    #expect(try rowCount(lake, "v@3") == "15")
  }

  /// A higher number of the name that has them again does, and it is said.
  @Test func whatThisLakeTookBackIsSaid() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v"))
    try exclude(lake, [3, 5, 7])
    try lake.succeed(Self.build("v"))
    try exclude(lake, [5, 7], "--undo")
    try lake.succeed(Self.build("v"))
    // Another name has all of them and was sealed last; it is not asked.
    try exclude(lake, [3], "--undo")
    try lake.succeed(Self.build("w"))
    let said = try rebuild(lake)
    #expect(said.contains("2 rows that a version was made without and a later one of its name has again"), "\(said)")
    #expect(try excluded(lake) == ["3"])
    #expect(
      try lake.texts("SELECT json_extract(detail, '$.reason') FROM v_event WHERE verb = 'readmitted'")
        == ["v@3 was made with them"])
  }

  /// What others built over the same bytes has the rows: under their name, and under one of this lake's.
  @Test func whatWasPulledReadmitsNothing() throws {
    let lake = try trainedLake()
    let (other, place) = (try lake.copy(), lake.directory.path + "/place")
    for (name, perOutput) in [("theirs", 1), ("theirs", 2), ("mine", 1), ("mine", 2), ("mine", 3)] {
      try other.succeed(Self.build(name, perOutput: perOutput))
    }
    for version in ["theirs@1", "theirs@2", "mine@3"] { try other.succeed(["push", version, place, "--quiet"]) }
    try exclude(lake, [3])
    try lake.succeed(Self.build("mine"))
    for pull in [["theirs@1"], ["theirs@2", "--as", "mine"], ["mine@3"]] {
      try lake.succeed(["pull", place] + pull + ["--allow-inside", "--quiet"])
    }
    for version in ["theirs@1", "mine@2", "mine@3"] { #expect(try rowCount(lake, version) == "17", "\(version)") }
    let said = try rebuild(lake)
    #expect(!said.contains("not excluded any more"), "\(said)")
    #expect(try excluded(lake) == ["3"])
    try lake.succeed(Self.build("mine", perOutput: 1))
    #expect(try rowCount(lake, "mine@4") == "16")
  }

  /// What was revoked and collected stays so: nothing is offered, and nothing brings the rows back.
  @Test func whatWasRevokedStaysRevoked() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v", perOutput: 1))
    try exclude(lake, [3])
    try lake.succeed(Self.build("v", perOutput: 1))
    try lake.succeed(["revoke", "v@1", "--reason", "case 17"])
    let file = lake.lake + "/versions/v@1/v.revoked"
    #expect(try String(contentsOfFile: file, encoding: .utf8).contains("\"reason\":\"case 17\""))
    // As an older tarn left it, which wrote no such file.
    try FileManager.default.removeItem(atPath: file)
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s"])
    #expect(try String(contentsOfFile: file, encoding: .utf8).contains("\"reason\":\"case 17\""))
    let said = try rebuild(lake)
    #expect(said.contains("revoked as before: v@1") && !said.contains("--repair"), "\(said)")
    #expect(try lake.texts("SELECT state FROM v_version ORDER BY version") == ["revoked", "sealed"])
    #expect(try excluded(lake) == ["3"])
    try lake.succeed(["verify", "--repair"])
    try lake.succeed(["doctor"])
    #expect(Disk.size(of: lake.lake + "/versions/v@1/v.000.faiss") == nil)
    // The output that both have is there, and the one that v@1 alone had is not.
    #expect(
      try lake.texts(
        "SELECT b.state FROM output_shard o JOIN index_version v ON v.id = o.version_id JOIN stored_bytes b "
          + "ON b.sha256 = o.sha256 WHERE v.number = 1 ORDER BY o.ordinal") == ["deleted", "present"])
  }

  /// An output that is lost while its version still has a row that is excluded is not made again.
  @Test func noRepairBringsExcludedRowsBack() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v", perOutput: 1))
    try exclude(lake, [3])
    let path = try lake.text(
      "SELECT b.path FROM output_shard o JOIN stored_bytes b ON b.sha256 = o.sha256 WHERE o.ordinal = 0")
    for name in ["artifacts/\(path)", "versions/v@1/v.000.faiss"] {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/\(name)")
    }
    let said = try lake.run(["verify", "--repair"])
    #expect(said.ending == .exit(20))
    #expect(said.outputText.contains("it has rows of v@1 that are excluded"), "\(said.outputText)")
    #expect(!said.outputText.contains("reproduce"), "\(said.outputText)")
    #expect(Disk.size(of: "\(lake.lake)/artifacts/\(path)") == nil)
  }

  /// What one source takes out of an output another one of the same bytes may have: its version is not lost with it.
  @Test func anOutputOfTwoSourcesIsMadeAgainForTheOther() throws {
    let lake = try trainedLake()
    try lake.succeed([
      "source", "add", "twin", "--directory", lake.directory.path + "/images", "--dimension",
      "\(PairedShards.dimension)",
    ])
    try lake.succeed(["sync", "twin", "--quiet"])
    try lake.succeed(Self.build("a"))
    let build = Self.build("b").map { $0 == "images" ? "twin" : $0 }
    try lake.succeed(build)
    let outputs = "SELECT DISTINCT b.path FROM output_shard o JOIN stored_bytes b ON b.sha256 = o.sha256"
    let paths = try lake.texts(outputs)
    try exclude(lake, [3])
    for name in paths.map({ "artifacts/\($0)" }) + ["versions/a@1/a.000.faiss", "versions/b@1/b.000.faiss"] {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/\(name)")
    }
    try #require(paths.count == 1, "\(paths)")
    let said = try lake.run(["verify", "--repair"])
    #expect(
      said.outputText.contains("restored") && !said.outputText.contains("that are excluded"), "\(said.outputText)")
    #expect(Disk.size(of: lake.lake + "/versions/b@1/b.000.faiss") != nil)
    try lake.succeed(["verify"])
    try lake.succeed(["search", "b@1", "--like", "3"])
    // Where both take it out nothing brings it back.
    let ids = lake.directory.path + "/twin.txt"
    try "3\n".write(toFile: ids, atomically: true, encoding: .utf8)
    try lake.succeed(["exclude", "twin", "--ids", ids, "--reason", "case 17"])
    try FileManager.default.removeItem(atPath: "\(lake.lake)/artifacts/\(paths[0])")
    for name in ["a", "b"] {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/versions/\(name)@1/\(name).000.faiss")
    }
    let lost = try lake.run(["verify", "--repair"]).outputText
    #expect(lost.contains("that are excluded") && !lost.contains("restored"), "\(lost)")
  }

  /// A catalog from before the revocation does not know it; the lake does.
  @Test func aCatalogThatWasPutBackIsToldOfRevocations() throws {
    let lake = try trainedLake()
    try lake.succeed(Self.build("v"))
    let copy = lake.directory.path + "/copy.sqlite"
    try lake.succeed(["backup", copy])
    try lake.succeed(["revoke", "v@1", "--reason", "case 17"])
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try FileManager.default.copyItem(atPath: copy, toPath: lake.lake + "/catalog.sqlite")
    let said = try lake.run(["doctor"])
    #expect(said.outputText.contains("v@1 was revoked at "), "\(said.outputText)")
  }
}
