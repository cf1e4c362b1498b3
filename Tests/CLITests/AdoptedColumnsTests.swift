// What companions of a source say of an adopted version whose ids count its rows.

import Base
import Catalog
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct AdoptedColumnsTests {
  private static let shards = FeatureSources.shardCount
  private static let rows = FeatureSources.rowCount

  /// Registers a companion of a source, with an address for each row of its shards, and fetches it.
  private static func addCompanion(
    _ name: String, of owner: String, _ counts: [Int] = [FeatureSources.rowCount, FeatureSources.rowCount],
    to lake: LakeFixture
  ) throws {
    let folder = "\(lake.directory.path)/\(name)"
    try Disk.makeDirectory(folder)
    for (ordinal, count) in counts.enumerated() {
      let lines = (0..<count).map { "{\"link\":\"https://h/\(ordinal)/\($0)\"}\n" }.joined()
      try Disk.writeAtomically(Array(lines.utf8), to: "\(folder)/m_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", name, "--companion-of", owner, "--directory", folder])
    try lake.succeed(["sync", name, "--quiet"])
  }

  /// Writes a shard of a source of a test's own.
  private static func writeShard(_ ordinal: Int, _ count: Int, of lake: LakeFixture) throws {
    let bytes = FeatureBytes.npy(count, dimension: FeatureSources.dimension, .float32, seed: UInt64(7 + ordinal))
    try Data(bytes).write(to: URL(fileURLWithPath: "\(lake.directory.path)/features/f_\(ordinal).npy"))
  }

  /// Registers a source of a test's own, with shards of so many rows, and fetches it.
  private static func addFeatures(_ counts: [Int], to lake: LakeFixture) throws {
    let folder = lake.directory.path + "/features"
    try Disk.makeDirectory(folder)
    for (ordinal, count) in counts.enumerated() { try writeShard(ordinal, count, of: lake) }
    try lake.succeed([
      "source", "add", "features", "--directory", folder, "--dimension", "\(FeatureSources.dimension)", "--dtype",
      "float32",
    ])
    try lake.succeed(["sync", "features", "--quiet"])
  }

  /// A version of one file with the rows of both shards, as somebody has it who comes from FAISS.
  private static func adopt(_ name: String, source: String, in lake: LakeFixture) throws {
    try lake.succeed(["build", "whole", "--trained", "t", "--images", "images", "--quiet"])
    let file = "\(lake.lake)/versions/whole@1/whole.000.faiss"
    try lake.succeed(["adopt", "version", name, file, "--trained", "t", "--source", source, "--quiet"])
  }

  private static func write(_ text: String, to name: String, of lake: LakeFixture) throws -> String {
    let path = "\(lake.directory.path)/\(name)"
    try Disk.writeAtomically(Array(text.utf8), to: path)
    return path
  }

  /// A search that gives all rows that it may.
  private static func search(_ version: String, in lake: LakeFixture) throws -> [String] {
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(1, dimension: FeatureSources.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    return ["search", version, "--queries", queries, "--nprobe", "3", "-k", "\(shards * rows)", "--json"]
  }

  private static func ids(_ result: ProcessResult) -> Set<Int> {
    Set((JSONValue(parsing: result.outputText)?["ids"]?.elements ?? []).compactMap { $0.integer.map { Int($0) } })
  }

  @Test func companionsOfItsSourceSayWhatItsRowsAre() throws {
    let lake = try LakeFixture.make(.built)
    try Self.adopt("a", source: "images", in: lake)
    let none = try lake.run(["locate", "a", "3", "--columns", "link"])
    #expect(
      none.ending == .exit(64) && none.errorText.contains("`tarn source add NAME --companion-of images --url …`"),
      "\(none.errorText)")
    try Self.addCompanion("said", of: "images", to: lake)
    let values = try Self.write("https://h/0/3\nhttps://h/1/2\n", to: "values", of: lake)
    let search = try Self.search("a", in: lake)
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "said", "--quiet"]) }
      let located = try lake.succeed(["locate", "a", "22", "3", "--columns", "link", "--json"]).outputText
      #expect(located.contains("\"https://h/1/2\"") && located.contains("\"https://h/0/3\""), "\(located)")
      let matched = try lake.succeed(["locate", "a", "--match", "link", "--values", values, "--json"]).outputText
      #expect(matched.contains("\"id\":22") && matched.contains("\"id\":3"), "\(matched)")
      let found = try lake.succeed(search + ["--where", "link LIKE 'https://h/1/1_'", "--columns", "link"])
      #expect(Self.ids(found) == Set(30..<40) && found.outputText.contains("https://h/1/19"), "\(found.outputText)")
    }
    // A folder for clip-retrieval says the same as of the version that was built of these rows.
    let folders = try ["a", "v"].map { version in
      let folder = "\(lake.directory.path)/folder-\(version)"
      try lake.succeed([
        "export", version, "--format", "clip-retrieval", "--into", folder, "--columns", "link", "--quiet",
      ])
      return try (0..<Self.shards).map { try Disk.contents(of: "\(folder)/metadata/metadata_\($0).parquet") }
    }
    #expect(folders[0] == folders[1])
    let ids = try Self.write("22\n", to: "ids", of: lake)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"])
    let located = try lake.succeed(["locate", "a", "22", "3", "--columns", "link", "--json"])
    #expect(
      located.outputText.contains("\"https://h/0/3\"") && !located.outputText.contains("\"https://h/1/2\"")
        && located.errorText.contains("row 22 of a@1 is excluded"), "\(located.outputText) \(located.errorText)")
    let matched = try lake.succeed(["locate", "a", "--match", "link", "--values", values, "--json"]).outputText
    #expect(!matched.contains("\"id\":22") && matched.contains("\"id\":3"), "\(matched)")
    #expect(try Self.ids(lake.succeed(search + ["--where", "link = 'https://h/1/2'"])).isEmpty)
  }

  /// Of a shard only those rows are found that the files have ids of.
  @Test func rowsThatItDoesNotHaveAreNotFound() throws {
    let lake = try LakeFixture.make(.built)
    // Its ids, 20 to 39, begin within a shard.
    try Self.addFeatures([30, 10], to: lake)
    let second = "\(lake.lake)/versions/v@1/v.001.faiss"
    try lake.succeed(["adopt", "version", "a", second, "--trained", "t", "--source", "features", "--quiet"])
    try Self.addCompanion("said", of: "features", [30, 10], to: lake)
    let values = try Self.write("https://h/0/3\nhttps://h/0/22\n", to: "values", of: lake)
    let matched = try lake.succeed(["locate", "a", "--match", "link", "--values", values, "--json"])
    #expect(
      matched.outputText.contains("\"id\":22") && !matched.outputText.contains("\"id\":3,")
        && matched.errorText.contains("https://h/0/3"), "\(matched.outputText) \(matched.errorText)")
    let search = try Self.search("a", in: lake)
    for condition in ["link CONTAINS '/0/'", "link CONTAINS '/0/' OR link IS NULL"] {
      #expect(try Self.ids(lake.succeed(search + ["--where", condition])) == Set(20..<30), "\(condition)")
    }
    let located = try lake.succeed(["locate", "a", "30", "--columns", "link", "--json"]).outputText
    #expect(located.contains("\"https://h/1/0\""), "\(located)")
    let ghost = try Self.write("https://h/0/3\n", to: "ghost", of: lake)
    let ghosts = try lake.run(["locate", "a", "--match", "link", "--values", ghost])
    #expect(ghosts.ending != .exit(0) && ghosts.outputText.isEmpty, "\(ghosts.outputText)")
  }

  /// Companions of the files themselves are the word of whoever adopted them, and none is mixed with others.
  @Test func companionsOfTheFilesThemselvesAnswerAlone() throws {
    let lake = try LakeFixture.make(.built)
    try Self.adopt("a", source: "images", in: lake)
    try Self.addCompanion("said", of: "images", to: lake)
    let files = try lake.text("SELECT source FROM v_version WHERE version = 'a@1'")
    let lines = (0..<(Self.shards * Self.rows)).map { "{\"own\":\"own \($0)\"}\n" }.joined()
    try Disk.makeDirectory(lake.directory.path + "/own")
    _ = try Self.write(lines, to: "own/whole.000.jsonl", of: lake)
    try lake.succeed([
      "source", "add", "own", "--companion-of", files, "--directory", lake.directory.path + "/own",
    ])
    try lake.succeed(["sync", "own", "--quiet"])
    #expect(try lake.succeed(["locate", "a", "22", "--columns", "own", "--json"]).outputText.contains("\"own 22\""))
    let refused = try lake.run(["locate", "a", "22", "--columns", "link"])
    #expect(
      refused.ending == .exit(64) && refused.errorText.contains("no companion of a@1 has the column 'link'"),
      "\(refused.errorText)")
  }

  /// A source may lose rows, as nothing pins them.
  @Test func ofRowsBehindTheSourcesLastNothingIsKnown() throws {
    let lake = try LakeFixture.make(.built)
    try Self.addFeatures([Self.rows, Self.rows], to: lake)
    try Self.adopt("a", source: "features", in: lake)
    try Self.addCompanion("said", of: "features", to: lake)
    let search = try Self.search("a", in: lake)
    #expect(try Self.ids(lake.succeed(search + ["--where", "link IS NULL"])).isEmpty)
    try Self.writeShard(1, 10, of: lake)
    try lake.succeed(["sync", "features", "--refresh", "--quiet"])
    let shown = try lake.succeed(search + ["--columns", "link"])
    #expect(
      shown.errorText.contains("of a@1 is none that features is known to have")
        && shown.errorText.contains("9 other rows likewise"), "\(shown.errorText)")
    // The companion's second shard has other rows than the source's now, so that nothing is known of any of them.
    let unknown = try lake.succeed(search + ["--where", "link IS NULL"])
    #expect(Self.ids(unknown) == Set(20..<40), "\(unknown.outputText)")
    #expect(
      unknown.errorText.contains("10 rows of a@1, from row 30 on, are none that features is known to have"),
      "\(unknown.errorText)")
  }

  /// Nor does it keep anybody from searching when rows of it are excluded, which stay hidden.
  @Test func excludedRowsOfASourceThatHasLostOthersStayHidden() throws {
    let lake = try LakeFixture.make(.built)
    try Self.addFeatures([Self.rows, Self.rows], to: lake)
    try Self.adopt("a", source: "features", in: lake)
    let gone = try Self.write("3\n", to: "gone", of: lake)
    let told = try lake.succeed(["exclude", "features", "--ids", gone, "--reason", "a test"]).outputText
    #expect(told.contains("`tarn revoke a@1 --reason TEXT`") && !told.contains("build the next one"), "\(told)")
    let search = try Self.search("a", in: lake)
    let rest = Set(0..<(Self.shards * Self.rows)).subtracting([3])
    #expect(try Self.ids(lake.succeed(search)).subtracting([-1]) == rest)
    try Self.writeShard(1, 10, of: lake)
    try lake.succeed(["sync", "features", "--refresh", "--quiet"])
    #expect(try Self.ids(lake.succeed(search)).subtracting([-1]) == rest)
  }

  /// Who shows columns for long reads which rows the ids count again once somebody has written.
  @Test func whatIsExcludedMeanwhileIsShownNoMore() throws {
    let lake = try LakeFixture.make(.built)
    try Self.adopt("a", source: "images", in: lake)
    try Self.addCompanion("said", of: "images", to: lake)
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    let columns = try RowColumns(catalog, catalog.version(catalog.versionName("a")), names: ["link"])
    func link() throws -> JSONValue {
      try columns.values(of: [22], cancellation: Cancellation(), tell: { _ in })[0]["link"] ?? .null
    }
    #expect(try link() == .string("https://h/1/2"))
    #expect(try link() == .string("https://h/1/2"))
    let gone = try Self.write("22\n", to: "gone", of: lake)
    try lake.succeed(["exclude", "images", "--ids", gone, "--reason", "a test"])
    #expect(try link() == .null)
  }
}
