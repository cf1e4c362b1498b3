// Names and texts that strangers chose, through the tool: what cannot be a name is
// refused with its reason, what can is used, and nothing reaches a terminal raw.

import Base
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct TextAndNameTests {
  /// A lake, and a directory with a shard under each of these names.
  private func lake(_ names: [String]) throws -> (lake: LakeFixture, directory: String) {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/features"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for (index, name) in names.enumerated() {
      try write(FeatureBytes.npy(5, dimension: 8, seed: UInt64(index)), to: Array("\(directory)/\(name)".utf8))
    }
    return (lake, directory)
  }

  private func write(_ bytes: [UInt8], to path: [UInt8]) throws {
    let descriptor = open((path + [0]).map { CChar(bitPattern: $0) }, O_WRONLY | O_CREAT, 0o644)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    try #require(bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
  }

  private func add(_ lake: LakeFixture, _ directory: String, _ more: String...) throws -> ProcessResult {
    try lake.run(["source", "add", "odd", "--directory", directory, "--dimension", "8"] + more)
  }

  @Test func namesThatPathsCannotHaveAreRefusedWithTheirReason() throws {
    for (name, reason) in [("b..x.npy", "two in a row"), ("x\u{1B}[31m.npy", "not seen"), ("-x.npy", "dash")] {
      let (lake, directory) = try lake([name])
      let result = try add(lake, directory)
      #expect(result.ending == .exit(64))
      #expect(result.errorText.contains(reason) && !result.errorText.contains("\u{1B}"), "\(result.errorText)")
      #expect(result.errorText.contains("rename it"))
      #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM source") == "0")
    }
  }

  @Test func hiddenFilesAreLeftOutAndNamesWithSpacesAndMarksWork() throws {
    let names = ["a b.npy", "é.npy", "\u{301}x.npy", "c,d.npy", "100%.npy"]
    let (lake, directory) = try lake(names + ["._a b.npy", ".hidden.npy"])
    #expect(try add(lake, directory).ending == .exit(0))
    try lake.succeed(["sync", "--quiet"])
    #expect(try Set(lake.texts("SELECT shard FROM v_shard WHERE state = 'present'")) == Set(names))
    // What tarn writes of them it reads again.
    for (format, option) in [("sha256sum", "--sha256"), ("sizes", "--sizes")] {
      let list = lake.directory.path + "/list"
      try Data(lake.succeed(["source", "export", "odd", "--format", format]).output)
        .write(to: URL(fileURLWithPath: list))
      let other = try LakeFixture.make(.empty)
      #expect(
        try add(other, directory, option, list).outputText.contains(
          "5 \(format == "sizes" ? "sizes" : "digests") known"))
    }
    try lake.succeed(["evict", "odd"])
    try lake.succeed(["import", "odd", directory + "/\u{301}x.npy", directory + "/a b.npy"])
    try lake.succeed(["verify"])
  }

  @Test func aNameThatIsNoUTF8IsNamed() throws {
    let (lake, directory) = try lake(["a.npy"])
    try write([1], to: Array("\(directory)/".utf8) + [0xFF] + Array("x.txt".utf8))
    try write([1], to: Array("\(directory)/b".utf8) + [0xFF] + Array("x.npy".utf8))
    let result = try add(lake, directory)
    #expect(result.ending == .exit(64))
    #expect(result.errorText.contains("not UTF-8") && result.errorText.contains("x.npy"), "\(result.errorText)")
    #expect(!result.errorText.contains("x.txt"))
  }

  @Test func equalNumbersAreOrderedByTheirBytes() throws {
    let (lake, directory) = try lake(["e_10.npy", "e_1.npy", "e_2.npy", "e_001.npy", "e_01.npy"])
    #expect(try add(lake, directory).ending == .exit(0))
    #expect(
      try lake.texts("SELECT shard FROM v_shard ORDER BY ordinal")
        == ["e_001.npy", "e_01.npy", "e_1.npy", "e_2.npy", "e_10.npy"])
  }

  @Test func theLongestCommonTailOfAListDecides() throws {
    let (lake, directory) = try lake(["0.npy", "1.npy"])
    let digests = (0..<6).map { ContentDigest.of("\($0)").hex }
    let list = lake.directory.path + "/list"
    func expected(_ lines: [String]) throws -> [String] {
      try lines.joined(separator: "\n").write(toFile: list, atomically: true, encoding: .utf8)
      let fresh = try LakeFixture.make(.empty)
      let result = try add(fresh, directory, "--sha256", list)
      guard result.ending == .exit(0) else { return ["\(result.ending)", result.errorText] }
      return try fresh.texts("SELECT coalesce(expected_sha256, '-') FROM shard ORDER BY ordinal")
    }
    #expect(
      try expected([
        "\(digests[0])  captions/0.npy", "\(digests[1])  features/0.npy", "\(digests[2]) *./features/1.npy",
        "\(digests[3])  1.npy", "\(digests[4])  other/features/1.txt",
      ]) == [digests[1], digests[2]])
    #expect(try expected(["\(digests[0])  0.npy"]) == [digests[0], "-"])
    let twice = try expected(["\(digests[0])  a/0.npy", "\(digests[1])  b/0.npy", "\(digests[2])  1.npy"])
    #expect(twice[0] == "exit(64)" && twice[1].contains("a/0.npy and b/0.npy"), "\(twice)")
    #expect(try expected(["\(digests[0])  0.npy", "\(digests[1])  0.npy"])[0] == "exit(64)")
    // Two paths that say the same are no contradiction, and a better one settles others.
    #expect(try expected(["\(digests[0])  a/0.npy", "\(digests[0])  b/0.npy"]) == [digests[0], "-"])
    #expect(
      try expected(["\(digests[0])  a/0.npy", "\(digests[1])  b/0.npy", "\(digests[2])  features/0.npy"])
        == [digests[2], "-"])
  }

  // MARK: Text on its way out

  private static let harm = "a\u{1B}[31m\u{9B}2J\u{202E}b\u{200B}\rc\nd"

  private func hidden(_ bytes: [UInt8]) -> [Unicode.Scalar] {
    String(decoding: bytes, as: UTF8.self).unicodeScalars.filter { $0 != "\n" && HiddenText.contains($0) }
  }

  @Test func nothingInACatalogReachesTheTerminalRaw() throws {
    let lake = try LakeFixture.make(.built)
    let harm = Self.harm.replacing("'", with: "''")
    try lake.tamper(
      """
      UPDATE shard SET last_error = '\(harm)', state = 'failed' WHERE name = 'txt_1.npy';
      UPDATE shard_location SET last_error = '\(harm)', etag = '\(harm)', url = url || '\(harm)';
      UPDATE mirror SET template = template || '\(harm)';
      UPDATE transfer SET error = '\(harm)', url = url || '\(harm)';
      UPDATE event SET actor = '\(harm.replacing("\n", with: ""))', detail = '{"x":"\(harm.replacing("\n", with: ""))"}';
      """, recounting: false)
    try Data([1]).write(to: URL(fileURLWithPath: lake.lake + "/shards/images/planted\(Self.harm)"))
    try FileManager.default.createDirectory(
      atPath: lake.lake + "/versions/x\(Self.harm)@1", withIntermediateDirectories: true)
    let document = lake.directory.path + "/document"
    try lake.succeed(["export", "v@1"]).outputText.replacing("\"v@1\"", with: "\"v\\u001b[31m\\u009b\\u202e@1\"")
      .write(toFile: document, atomically: true, encoding: .utf8)
    let commands: [[String]] = [
      ["status"], ["source", "list"], ["source", "show", "images"], ["source", "show", "captions"], ["doctor"], ["gc"],
      ["versions"], ["show", "v@1"], ["locate", "v@1", "0", "39"], ["export", "v@1"], ["verify"],
      ["sync", "--dry-run"],
      ["sql", "SELECT * FROM v_event"], ["sql", "SELECT * FROM v_location", "--format", "csv"],
      ["sql", "SELECT * FROM v_shard", "--format", "jsonl"], ["sql", "SELECT \"\(Self.harm)\" FROM v_shard"],
      ["source", "export", "images", "--format", "metalink"], ["source", "export", "images", "--format", "croissant"],
      ["reproduce", "--from", document], ["show", Self.harm], ["search", Self.harm, "--queries", Self.harm],
      ["sync", "--\(Self.harm)"], [Self.harm], ["rebuild-catalog"],
    ]
    for command in commands {
      for more in [[], ["--json"]] where more.isEmpty || command != ["rebuild-catalog"] {
        let result = try lake.run(command + more)
        #expect(hidden(result.output).isEmpty, "\(command): \(hidden(result.output))")
        #expect(hidden(result.errors).isEmpty, "\(command): \(hidden(result.errors))")
      }
    }
    let page = lake.directory.path + "/page.html"
    let report = try lake.run(["status", "--report", page])
    #expect(report.ending == .exit(0), "\(report.errorText)")
    #expect(hidden(Array(try Data(contentsOf: URL(fileURLWithPath: page)))).isEmpty)
    let text = try lake.run(["sql", "SELECT last_error FROM v_shard WHERE shard = 'txt_1.npy'", "--json"]).output
    let rows = try JSONSerialization.jsonObject(with: Data(text)) as? [[String: String]]
    #expect(rows?.first?["last_error"].map { Array($0.utf16) } == Array(Self.harm.utf16))
  }
}
