// Rules of exclusions and bytes that nobody here had seen when the version was planned, or pulled: they are held against
// each other before it is sealed, so that no search shows a row that a rule takes out.

import Base
import Foundation
import TestSupport
import Testing

@Suite struct RuleAtSealTests {
  private static let places = ["https://h/0/4", "https://h/1/3"]

  /// Registers a companion of a source, a file for each shard; each row says its place.
  private func addCompanion(to lake: LakeFixture, of source: String) throws {
    let directory = lake.directory.path + "/meta"
    try Disk.makeDirectory(directory)
    for shard in 0..<FeatureSources.shardCount {
      let lines = (0..<FeatureSources.rowCount).map { "{\"url\":\"https://h/\(shard)/\($0)\"}\n" }
      try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(directory)/m_\(shard).jsonl")
    }
    try lake.succeed(["source", "add", "meta", "--companion-of", source, "--directory", directory])
  }

  /// Makes the rule; of bytes that nobody has seen it finds nothing yet.
  private func exclude(_ lake: LakeFixture, from source: String) throws -> ProcessResult {
    let file = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array(Self.places.map { $0 + "\n" }.joined().utf8), to: file)
    let made = try lake.succeed(["exclude", source, "--match", "url", "--values", file, "--reason", "case 19"])
    #expect(made.outputText.contains("2 values of meta.url, 0 rows excluded"), "\(made.outputText)")
    #expect(made.errorText.contains("will be when a version is planned, sealed or pulled"), "\(made.errorText)")
    return made
  }

  private func excluded(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT ordinal || ' ' || row FROM v_exclusion WHERE rule = 1 AND kind = 'exclude' ORDER BY ordinal")
  }

  @Test func itIsHeldAgainstWhatAWorkerAloneHasSeen() throws {
    let planned = try PlannedLake.make()
    let lake = planned.lake
    try addCompanion(to: lake, of: "unseen")
    try lake.succeed(["sync", "meta", "--quiet"])
    let made = try exclude(lake, from: "unseen")
    #expect(made.outputText.contains("v@1 is not finished"), "\(made.outputText)")
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0) && answer["sealed"] == .bool(true), "\(errors)")
    #expect(errors.contains("what was sealed has 2 rows of v@1 that were excluded since it was planned"), "\(errors)")
    #expect(try excluded(lake) == ["0 4", "1 3"])
    let like = try lake.run(["search", "v@1", "--like", "23"])
    #expect(like.ending == .exit(64) && like.errorText.contains("is excluded (case 19)"), "\(like.errorText)")
  }

  /// What cannot be looked at is not sealed past, as it is not planned past; then the same command goes on.
  @Test func nothingIsSealedPastWhatCannotBeLookedAt() throws {
    let planned = try PlannedLake.make()
    let lake = planned.lake
    try addCompanion(to: lake, of: "unseen")
    try lake.succeed(["sync", "meta", "--shards", "0", "--quiet"])
    _ = try exclude(lake, from: "unseen")
    let refused = try planned.ingest()
    #expect(refused.ending == .exit(21), "\(refused.errors)")
    #expect(
      refused.errors.contains("v@1 is whole and not sealed: rule 1 of unseen has to look at the column 'url'")
        && refused.errors.contains("tarn sync meta --shards 1"), "\(refused.errors)")
    #expect(try planned.standing().outputs == ["0", "1"] && planned.sealedDigest() == "building")
    // What could be looked at is known from then on.
    #expect(try excluded(lake) == ["0 4"])
    try lake.succeed(["sync", "meta", "--quiet"])
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try excluded(lake) == ["0 4", "1 3"])
  }

  /// A rule that was there when it was planned has been looked at: its companion may be gone.
  @Test func whatThePlanHasLookedAtIsNotNeededAgain() throws {
    let lake = try LakeFixture.make(.trained)
    try PlannedLake.addUnseen(to: lake)
    try addCompanion(to: lake, of: "unseen")
    try lake.succeed(["sync", "meta", "--quiet"])
    let file = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("https://h/none\n".utf8), to: file)
    try lake.succeed(["exclude", "unseen", "--match", "url", "--values", file, "--reason", "case 20"])
    let tasks = lake.directory.path + "/tasks"
    try lake.succeed(["plan", "build"] + PlannedLake.arguments + ["--tasks", tasks])
    try lake.succeed(["evict", "meta", "--quiet"])
    let scratch = lake.directory.path + "/scratch"
    try Disk.makeDirectory(scratch)
    try lake.succeed(["worker", tasks, "--task", "0-1", "--scratch", scratch, "--quiet"])
    #expect(try lake.succeed(["ingest", tasks]).outputText.contains("v@1 is sealed"))
  }

  @Test func itIsHeldAgainstWhatIsPulled() throws {
    for isHere in [true, false] {
      let lake = try LakeFixture.make(.registered)
      try addCompanion(to: lake, of: "images")
      if isHere { try lake.succeed(["sync", "meta", "--quiet"]) }
      _ = try exclude(lake, from: "images")
      let pulled = try lake.succeed(["pull", LakeFixture.published(), "v@1", "--allow-inside"])
      let words =
        isHere
        ? "v@1 has 2 rows that are excluded here: searches leave them out"
        : "v@1 may show rows that a rule excludes: rule 1 of images has to look at the column 'url'"
      #expect(pulled.errorText.contains(words), "\(pulled.errorText)")
      #expect(try excluded(lake) == (isHere ? ["0 4", "1 3"] : []))
    }
  }
}
