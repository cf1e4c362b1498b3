// What `verify --repair` leaves alone: files that it cannot open, and those that nothing that was
// allowed can replace. They are named, stay where they are, and keep nothing else from repair.

import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct RepairLeavesTests {
  private struct Report: Decodable {
    struct Entry: Decodable {
      let kind: String
      let path: String
      let problem: String
      let repair: String?
      let advice: String?
    }
    let damages: [Entry]
  }

  private func verify(_ lake: LakeFixture, _ options: String...) throws -> [Report.Entry] {
    let result = try lake.run(["verify", "--json"] + options)
    let first = try #require(result.outputText.split(separator: "\n").first, "\(result.errorText)")
    let damages = try JSONDecoder().decode(Report.self, from: Data(first.utf8)).damages
    #expect(result.ending == .exit(damages.isEmpty ? 0 : 20), "\(result.errorText)")
    return damages
  }

  private func paths(_ lake: LakeFixture, _ source: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(lake.lake)/shards/\(source)").sorted().map {
      "\(lake.lake)/shards/\(source)/\($0)"
    }
  }

  private func damage(_ path: String) throws -> Data {
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count - 1] ^= 1
    try bytes.write(to: URL(fileURLWithPath: path))
    return bytes
  }

  /// A link to itself and a directory are opened by nobody, root or not, as a file without the
  /// right to read is not by others.
  @Test func whatCannotBeOpenedIsOneFindingAndIsLeftAlone() throws {
    let lake = try LakeFixture.make(.built).copy(keepingLinks: true)
    let captions = try paths(lake, "captions")
    let segment = try #require(try lake.texts("SELECT path FROM stored_bytes WHERE kind = 'segment'").first)
    let closed = [captions[0], "\(lake.lake)/artifacts/\(segment)"]
    try FileManager.default.removeItem(atPath: closed[0])
    try FileManager.default.createSymbolicLink(atPath: closed[0], withDestinationPath: closed[0])
    try FileManager.default.removeItem(atPath: closed[1])
    try FileManager.default.createDirectory(atPath: closed[1], withIntermediateDirectories: false)
    _ = try damage(captions[1])

    let found = try verify(lake)
    #expect(Set(found.map(\.path)) == Set(closed + [captions[1]]), "\(found)")
    for entry in found where closed.contains(entry.path) {
      #expect(entry.problem == "unreadable" && entry.advice?.contains("must be readable") == true, "\(entry)")
    }
    let repaired = try verify(lake, "--repair")
    #expect(repaired.filter { $0.repair == "restored" }.map(\.path) == [captions[1]], "\(repaired)")
    #expect(Set(repaired.filter { $0.repair == "kept" }.map(\.path)) == Set(closed), "\(repaired)")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: closed[0]) == closed[0])
    #expect(Set(try verify(lake).map(\.path)) == Set(closed))
  }

  /// A lake with a trained index on a source that a command makes.
  private func commandLake() throws -> LakeFixture {
    let sources = try LakeFixture.sources()
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    try lake.succeed([
      "source", "add", "made", "--url", "command:cp {input} {output}", "--input",
      sources.directory.path + "/captions/txt_{ordinal}.npy", "--count", "2", "--shard-names", "made_{ordinal}.npy",
      "--dimension", "\(FeatureSources.dimension)", "--dtype", "float32",
    ])
    try lake.succeed(["sync", "--allow-commands", "--quiet"])
    try lake.succeed(["train", "t", "--images", "made", "--method", "kmeans", "--nlist", "2", "--quiet"])
    return lake
  }

  @Test(arguments: [false, true]) func whatOnlyACommandMakesStaysUntilItMayRun(isGone: Bool) throws {
    let lake = try commandLake()
    let path = try paths(lake, "made")[0]
    let bytes = isGone ? nil : try damage(path)
    if isGone { try FileManager.default.removeItem(atPath: path) }
    let found = try verify(lake, "--repair")
    #expect(found.map(\.repair) == ["kept"] && found[0].advice?.contains("--allow-commands") == true, "\(found)")
    #expect(FileManager.default.contents(atPath: path) == bytes)
    #expect(try verify(lake).map(\.path) == [path])
    #expect(try verify(lake, "--repair", "--allow-commands").map(\.repair) == ["restored"])
    #expect(try verify(lake).isEmpty)
  }

  /// What nothing rests on is given up, and the hint has what its sync needs.
  @Test func whatNothingRestsOnIsGivenUpWithAWayBack() throws {
    let lake = try commandLake()
    try lake.succeed(["remove", "t"])
    _ = try damage(try paths(lake, "made")[0])
    let found = try verify(lake, "--repair")
    #expect(found.map(\.repair) == ["given-up"], "\(found)")
    #expect(found.first?.advice == "`tarn sync made --allow-commands` fetches it", "\(found)")
  }

  /// An output that has no other name, no segment and no shard: what is advised brings it back.
  @Test func anOutputThatIsGoneIsMadeAgainAsIsSaid() throws {
    let lake = try LakeFixture.make(.built)
    let output = try lake.text("SELECT sha256 FROM v_output_shard WHERE version = 'v@1' AND output = 0")
    let path = try lake.lake + "/artifacts/" + lake.text("SELECT path FROM stored_bytes WHERE sha256 = '\(output)'")
    for file in [path, lake.lake + "/versions/v@1/v.000.faiss"] { try FileManager.default.removeItem(atPath: file) }
    try lake.succeed(["gc", "--segments", "--apply", "--grace", "0s", "--quiet"])
    try lake.evictImages()
    let way = "restore the file, or `tarn reproduce v@1 --into DIR --fetch` makes it again"
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(1, dimension: FeatureSources.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = try lake.run(["search", "v@1", "--queries", queries])
    #expect(
      search.ending == .exit(21) && search.errorText.contains("an output of v@1 is not at \(path)")
        && search.errorText.contains("`tarn verify --repair` brings it back") && search.errorText.contains(way),
      "\(search.errorText)")
    #expect(search.errorLines.count == 1, "\(search.errorText)")
    #expect(try lake.run(["doctor"]).outputText.contains(way))
    let lost = try verify(lake, "--repair").filter { $0.path == path }
    #expect(lost.map(\.repair) == ["lost"] && lost.first?.advice == way, "\(lost)")
    let into = lake.directory.path + "/again"
    try lake.succeed(["reproduce", "v@1", "--into", into, "--fetch", "--patience", "0", "--quiet"])
    // The directory went with what was in it.
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try FileManager.default.moveItem(atPath: into + "/v.000.faiss", toPath: path)
    try lake.succeed(["search", "v@1", "--queries", queries])
  }

  /// A server that is away, or a file that is gone, takes nothing from the lake.
  @Test func whatNobodyGivesNowStays() throws {
    let isAway = Mutex(false)
    let sources = try FeatureSources(interfering: { _ in isAway.withLock { $0 } ? .answer(503) : nil })
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for stage in [LakeStage.registered, .synced, .trained] {
      for arguments in stage.arguments(sources) { try lake.succeed(arguments) }
    }
    let damaged = [try paths(lake, "captions")[0], try paths(lake, "images")[0]]
    let bytes = try damaged.map(damage)
    let origin = sources.directory.path + "/captions/txt_0.npy"
    try FileManager.default.moveItem(atPath: origin, toPath: origin + ".aside")
    isAway.withLock { $0 = true }
    #expect(try verify(lake, "--repair", "--patience", "0").map(\.repair) == ["kept", "kept"])
    #expect(damaged.map { FileManager.default.contents(atPath: $0) } == bytes)
    try FileManager.default.moveItem(atPath: origin + ".aside", toPath: origin)
    isAway.withLock { $0 = false }
    #expect(try verify(lake, "--repair").map(\.repair) == ["restored", "restored"])
    #expect(try verify(lake).isEmpty)
  }
}
