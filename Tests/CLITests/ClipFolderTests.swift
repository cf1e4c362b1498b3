// `export --format clip-retrieval`: one index, a row of metadata for each id, all of it or nothing.

import Base
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
