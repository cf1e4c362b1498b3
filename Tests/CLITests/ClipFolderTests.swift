// `export --format clip-retrieval`: one index, a row of metadata for each id, all of it or nothing.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct ClipFolderTests {
  private func lake() throws -> LakeFixture {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/meta"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<2 {
      let lines = (0..<FeatureSources.rowCount).map { row in
        row == 4 ? "\n" : "{\"url\":\"https://h/\(ordinal)/\(row)\",\"n\":\(row),\"ok\":true}\n"
      }
      try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(directory)/m_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "meta", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "meta"])
    return lake
  }

  private func export(_ folder: String, _ options: [String] = []) -> [String] {
    ["export", "v@1", "--format", "clip-retrieval", "--into", folder] + options
  }

  private func names(_ directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
  }

  @Test func theIndexIsThatOfABuildIntoOneFile() throws {
    let lake = try lake()
    let folder = lake.directory.path + "/folder"
    let said = try lake.succeed(export(folder, ["--json"]))
    #expect(try names(folder) == ["image.index", "indices_paths.json", "metadata"])
    #expect(try names(folder + "/metadata") == ["metadata_0.parquet", "metadata_1.parquet"])
    #expect(said.errorText.contains("has no pack"), "\(said.errorText)")
    let summary = try #require(JSONValue(parsing: said.outputText))
    #expect(summary["columns"] == .array([.string("url")]) && summary["ids"] == .integer(40))
    let text = try #require(Disk.text(of: folder + "/indices_paths.json"))
    let paths = try #require(JSONValue(parsing: text))
    #expect(paths == .object(["v@1": .string(folder)]))
    // The same rows built into as many outputs as there are shards, joined, are the bytes of one output.
    try lake.succeed(["build", "one", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    try lake.succeed(["build", "two", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"])
    let one = try lake.text("SELECT sha256 FROM v_output_shard WHERE version = 'one@1'")
    #expect(try lake.texts("SELECT sha256 FROM v_output_shard WHERE version = 'two@1'").count == 2)
    for version in ["one@1", "two@1"] {
      let made = "\(folder)-\(version)"
      try lake.succeed(["export", version, "--format", "clip-retrieval", "--into", made, "--quiet"])
      #expect(try Disk.digest(of: made + "/image.index").hex == one, "\(version)")
    }
  }

  /// The pages show url and caption: what they lack is said, and a column of another name can be one of them.
  @Test func aColumnIsWrittenUnderTheNameThatThePagesRead() throws {
    let lake = try lake()
    let folder = lake.directory.path + "/folder"
    let plain = try lake.succeed(export(folder))
    #expect(plain.errorText.contains("no companion of v@1 has a caption here"), "\(plain.errorText)")
    #expect(plain.errorText.contains("--columns url,caption=NAME"), "\(plain.errorText)")
    let renamed = try lake.succeed(export(folder + "2", ["--columns", "url,caption=n", "--json"]))
    let summary = try #require(JSONValue(parsing: renamed.outputText))
    #expect(summary["columns"] == .array([.string("url"), .string("caption")]))
    #expect(try lake.run(export(folder + "3", ["--columns", "url,caption=ghost"])).errorText.contains("ghost"))
    #expect(try lake.run(export(folder + "3", ["--columns", "url,url=n"])).ending == .exit(64))
    // What DataComp calls its captions.
    let directory = lake.directory.path + "/more"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<2 {
      let lines = (0..<FeatureSources.rowCount).map { "{\"text\":\"picture \($0)\"}\n" }
      try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(directory)/t_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "more", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "more"])
    let both = try lake.succeed(export(folder + "4", ["--json"]))
    #expect(both.outputText.contains("[\"url\",\"caption\"]"), "\(both.outputText)")
    #expect(both.errorText.contains("caption is the column text of companions"), "\(both.errorText)")
  }

  /// What is advised keeps the label of a column that is called otherwise in companions.
  @Test func whatIsAdvisedKeepsTheLabels() throws {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/texts"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<2 {
      let lines = (0..<FeatureSources.rowCount).map { "{\"text\":\"picture \($0)\",\"link\":\"l\($0)\"}\n" }
      try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(directory)/t_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "texts", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "texts"])
    let folder = lake.directory.path + "/folder"
    let said = try lake.succeed(export(folder)).errorText
    #expect(said.contains("--columns caption=text,url=NAME"), "\(said)")
    let both = try lake.succeed(export(folder + "2", ["--columns", "caption=text,url=link", "--json"]))
    let summary = try #require(JSONValue(parsing: both.outputText))
    #expect(summary["columns"] == .array([.string("caption"), .string("url")]))
  }

  /// The folder has no place for what refines.
  @Test func aRefinedVersionIsSaidToLoseIt() throws {
    let lake = try lake()
    try lake.succeed([
      "train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--refine", "sq8", "--quiet",
    ])
    try lake.succeed(["build", "r", "--trained", "r", "--images", "images", "--quiet"])
    let folder = lake.directory.path + "/refined"
    let said = try lake.succeed(["export", "r", "--format", "clip-retrieval", "--into", folder]).errorText
    #expect(said.contains("r@1 is refined by sq8") && said.contains("sq4 codes alone"), "\(said)")
    // What was adopted under the same trained index has no such codes to lose.
    let output = "\(lake.lake)/versions/r@1/r.000.faiss"
    try lake.succeed(["adopt", "version", "a", output, "--trained", "r", "--source", "images", "--quiet"])
    let rows = lake.directory.path + "/rows"
    try Disk.makeDirectory(rows)
    let lines = (0..<(2 * FeatureSources.rowCount)).map { "{\"url\":\"https://h/\($0)\"}\n" }
    try Disk.writeAtomically(Array(lines.joined().utf8), to: rows + "/r.000.jsonl")
    let files = try lake.text("SELECT name FROM source WHERE modality = 'index'")
    try lake.succeed(["source", "add", "rows", "--companion-of", files, "--directory", rows])
    try lake.succeed(["sync", "rows", "--quiet"])
    let adopted = ["export", "a", "--format", "clip-retrieval", "--into", folder + "2", "--columns", "url"]
    let other = try lake.succeed(adopted).errorText
    #expect(!other.contains("is refined by"), "\(other)")
  }

  @Test func nothingIsReplacedAndNothingIsLeft() throws {
    let lake = try lake()
    let place = lake.directory.path + "/place"
    try Disk.makeDirectory(place)
    let folder = place + "/folder"
    for (options, status, word) in [
      (["--columns", "ghost"], Int32(64), "ghost"), (["--columns", "url,"], 64, "--columns"),
    ] {
      let result = try lake.run(export(folder, options))
      #expect(result.ending == .exit(status) && result.errorText.contains(word), "\(result.errorText)")
      #expect(try names(place).isEmpty)
    }
    try Disk.makeDirectory(folder)
    for taken in [folder, folder + "/", lake.lake + "/artifacts/folder", lake.directory.path + "/none/folder"] {
      let result = try lake.run(export(taken))
      #expect(result.ending != .exit(0) && result.errorLines.count == 1, "\(taken): \(result.errorText)")
    }
    #expect(try names(folder).isEmpty && names(place) == ["folder"])
    for arguments in [
      ["export", "v@1", "--into", folder], ["export", "v@1", "--format", "clip-retrieval"],
      ["export", "v@1", "--columns", "url"],
    ] { #expect(try lake.run(arguments).ending == .exit(64), "\(arguments)") }
    // A damaged output does not leave the lake.
    let path = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'output-shard' ORDER BY path")
    let file = URL(fileURLWithPath: "\(lake.lake)/artifacts/\(path)")
    var bytes = try Data(contentsOf: file)
    bytes[bytes.count - 1] ^= 1
    try bytes.write(to: file)
    let damaged = try lake.run(export(place + "/other"))
    #expect(damaged.ending == .exit(20) && damaged.errorText.contains("is damaged"), "\(damaged.errorText)")
    #expect(try names(place) == ["folder"])
  }

  @Test func theHistoryTellsWhereAVersionWent() throws {
    let lake = try lake()
    let folder = lake.directory.path + "/folder"
    try lake.succeed(export(folder, ["--quiet"]))
    #expect(try lake.texts("SELECT kind || ' ' || place FROM v_publication") == ["exported \(folder)"])
    #expect(try lake.text("SELECT sha256 FROM v_publication") == Disk.digest(of: folder + "/image.index").hex)
    // Beside a command that has the whole lake it is written all the same, and says so.
    var holder: LakeCatalog? = try LakeCatalog.open(root: lake.lake, writing: "gc")
    let beside = try lake.run(export(folder + "-2", ["--quiet", "--wait", "0s"]))
    #expect(
      beside.ending == .exit(0) && beside.errorText.contains("the history cannot be told of it"), "\(beside.errorText)")
    // Unless it is told not to, it waits for that one's end.
    let running = try lake.start(export(folder + "-3"))
    let deadline = ContinuousClock.now + .seconds(60)
    while Disk.size(of: folder + "-3/image.index") == nil, .now < deadline { usleep(20_000) }
    usleep(300_000)
    withExtendedLifetime(holder) {}
    holder = nil
    let waited = running.finish()
    #expect(waited.ending == .exit(0), "\(waited.errorText)")
    #expect(waited.errorText.contains("waiting to tell the history"), "\(waited.errorText)")
    #expect(try lake.texts("SELECT place FROM v_publication ORDER BY 1") == [folder, folder + "-3"])
  }

  @Test func copiesThatAreToGoAreNamed() throws {
    let lake = try lake()
    let folder = lake.directory.path + "/folder"
    let place = lake.directory.path + "/place"
    try lake.succeed(export(folder, ["--quiet"]))
    try lake.succeed(["push", "v@1", place, "--quiet"])
    let ids = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array("3\n".utf8), to: ids)
    let told = "v@1 was exported into \(folder); remove it there\nv@1 was pushed to \(place); remove it there\n"
    let excluded = try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"]).outputText
    #expect(excluded.contains(told), "\(excluded)")
    #expect(try lake.succeed(["revoke", "v@1", "--reason", "case 17"]).outputText == "v@1 is revoked\n\(told)")
    let again = try lake.succeed(["revoke", "v@1", "--reason", "case 17", "--json"]).outputText
    #expect(JSONValue(parsing: again)?["published"] == .array([.string(folder), .string(place)]))
    let holders = "SELECT removed_by || ': ' || holder FROM v_exclusion_holder WHERE kind = 'publication' ORDER BY 1"
    #expect(
      try lake.texts(holders)
        == ["remove v@1 there: \(folder)", "remove v@1 there: \(place)"])
  }

  @Test func aCompanionThatIsNotHereIsToldAndNull() throws {
    let lake = try lake()
    try lake.succeed(["evict", "meta"])
    let folder = lake.directory.path + "/folder"
    let said = try lake.run(export(folder, ["--columns", "url,n"]))
    #expect(
      said.ending == .exit(0) && said.errorText.contains("m_0.jsonl of meta is not in the lake"), "\(said.errorText)")
    let none = try lake.run(export(folder + "2"))
    #expect(none.ending == .exit(64) && none.errorText.contains("tarn sync"), "\(none.errorText)")
  }
}
