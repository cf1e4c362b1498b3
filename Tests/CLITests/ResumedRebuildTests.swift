// `tarn reproduce` that is killed: the next run goes on, in the lake's scratch and in a
// directory that keeps the outputs, and nothing is left but these.

import Base
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct ResumedRebuildTests {
  /// Three outputs, of two, two and one shards.
  private func makeLake() throws -> LakeFixture {
    let lake = try PairedShards([120, 90, 170, 50, 140], seed: 31).lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "4", "--iterations", "2", "--quiet",
      "--refine", "sq8",
    ])
    try lake.succeed([
      "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet",
    ])
    return lake
  }

  private static let plain = ["reproduce", "v@1"]

  private func into(_ directory: String) -> [String] { Self.plain + ["--into", directory] }

  private func names(in directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
  }

  /// The outputs as they are in the lake, by name.
  private func outputs(of lake: LakeFixture) throws -> [String: ContentDigest] {
    let directory = lake.lake + "/versions/v@1"
    let names = names(in: directory).filter { $0.hasSuffix(".faiss") || $0.hasSuffix(".refine") }
    return try Dictionary(uniqueKeysWithValues: names.map { ($0, try Disk.digest(of: "\(directory)/\($0)")) })
  }

  private func digests(in directory: String) throws -> [String: ContentDigest] {
    try Dictionary(
      uniqueKeysWithValues: names(in: directory).map { ($0, try Disk.digest(of: "\(directory)/\($0)")) })
  }

  private func steps(of command: [String], in lake: LakeFixture) throws -> [String] {
    let log = lake.directory.path + "/steps"
    try #require(try lake.run(command, environment: ["TARN_FAULT_LOG": log]).ending == .exit(0))
    return try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  /// Kills a rebuild right after the record of its first output.
  private func killAfterOneOutput(_ command: (LakeFixture) -> [String], _ lake: LakeFixture) throws {
    let whole = try lake.copy()
    let steps = try steps(of: command(whole), in: whole)
    let recorded = try #require(steps.firstIndex { $0.contains(" rename ") && $0.hasSuffix("/output-0.json") })
    // Its directory is synced after the rename; the step after that finds it.
    let killed = try lake.run(command(lake), environment: ["TARN_FAULT": "kill@\(recorded + 3)"])
    try #require(killed.ending == .signal(SIGKILL))
  }

  @Test(arguments: [false, true]) func goesOnWhereverItIsKilled(isKept: Bool) throws {
    let before = try makeLake()
    let expected = try outputs(of: before)
    try #require(expected.count == 6)
    var step = 1
    while step < 1000 {
      let lake = try before.copy()
      let directory = lake.directory.path + "/rebuilt"
      let command = isKept ? into(directory) : Self.plain
      let killed = try lake.run(command, environment: ["TARN_FAULT": "kill@\(step)"])
      guard killed.ending == .signal(SIGKILL) else {
        #expect(killed.ending == .exit(0), "\(killed.errorText)")
        break
      }
      // One that was recorded is done, and its directory is no longer empty.
      let recorded = try lake.text("SELECT count(*) FROM reproduction") == "1"
      let again = try lake.run(command)
      if recorded, isKept, again.ending == .exit(64) {
        #expect(again.errorText.contains("holds other files"), "kill@\(step): \(again.errorText)")
      } else {
        #expect(again.outputText.contains("v@1 is identical"), "kill@\(step): \(again.errorText)")
        #expect(names(in: lake.lake + "/scratch").isEmpty, "kill@\(step)")
      }
      if isKept {
        var found = try digests(in: directory)
        if recorded { found[".unfinished-rebuild"] = nil }
        #expect(found == expected, "kill@\(step)")
      }
      step += TestRounds.isFull ? 1 : 7
    }
    #expect(step > 40)
  }

  @Test(arguments: [false, true]) func readsNoShardOfAnOutputThatIsDone(isKept: Bool) throws {
    let lake = try makeLake()
    let command = { (lake: LakeFixture) in isKept ? into(lake.directory.path + "/rebuilt") : Self.plain }
    try killAfterOneOutput(command, lake)
    let shards = try lake.texts(
      "SELECT path FROM v_shard WHERE source = 'images' AND ordinal < 2 ORDER BY ordinal")
    try #require(shards.count == 2)
    for path in shards { try FileManager.default.removeItem(atPath: lake.lake + "/shards/" + path) }
    let again = try lake.succeed(command(lake))
    #expect(again.outputText.contains("v@1 is identical"), "\(again.errorText)")
  }

  @Test func makesAnOutputAgainThatIsNoLongerWhatItWas() throws {
    let lake = try makeLake()
    let directory = lake.directory.path + "/rebuilt"
    try killAfterOneOutput({ into($0.directory.path + "/rebuilt") }, lake)
    let first = "\(directory)/v.000.faiss"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: first))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: first))
    try lake.succeed(into(directory))
    #expect(try digests(in: directory) == outputs(of: lake))
  }

  /// What another tarn left is made anew, and known as its own until then.
  @Test func whatAnotherTarnLeftStaysUntilItCanBeMadeAnew() throws {
    let lake = try makeLake()
    let directory = lake.directory.path + "/rebuilt"
    try killAfterOneOutput({ into($0.directory.path + "/rebuilt") }, lake)
    let mark = directory + "/.unfinished-rebuild/version"
    let text = try #require(Disk.text(of: mark))
    try Disk.writeAtomically(Array(text.replacing(" tarn ", with: " tarn 0.0.0-").utf8), to: mark)
    let before = names(in: directory)
    try lake.succeed(["evict", "images", "--quiet"])
    let missing = try lake.run(into(directory))
    #expect(missing.ending == .exit(21), "\(missing.errorText)")
    #expect(names(in: directory) == before && Disk.text(of: mark) != text)
    try lake.succeed(["sync", "images", "--quiet"])
    try lake.succeed(into(directory))
    #expect(try digests(in: directory) == outputs(of: lake))
  }

  @Test func takesNoDirectoryOfAnother() throws {
    let lake = try makeLake()
    try lake.succeed([
      "build", "v", "--trained", "t", "--images", "images", "--shards", "0-1", "--shards-per-output", "1", "--quiet",
    ])
    let directory = lake.directory.path + "/rebuilt"
    try killAfterOneOutput({ into($0.directory.path + "/rebuilt") }, lake)
    let other = try lake.run(["reproduce", "v@2", "--into", directory])
    #expect(other.ending == .exit(64))
    #expect(other.errorText.contains("has what an unfinished rebuild of v@1 left"), "\(other.errorText)")
    try Data("mine".utf8).write(to: URL(fileURLWithPath: directory + "/notes"))
    let stranger = try lake.run(into(directory))
    #expect(stranger.ending == .exit(64) && stranger.errorText.contains("holds other files"))
    try FileManager.default.removeItem(atPath: directory + "/notes")
    try lake.succeed(into(directory))
    #expect(try digests(in: directory) == outputs(of: lake))
  }
}
