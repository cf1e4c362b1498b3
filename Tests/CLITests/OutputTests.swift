// What every verb prints: help with examples and exit codes, JSON that parses
// and nothing else on standard output; and second runs that change nothing.

import Base
import Foundation
import Testing
import TestSupport

/// A verb as the tool itself describes it.
struct DescribedCommand: Decodable {
  let commandName: String
  let subcommands: [DescribedCommand]?

  /// Every verb below, as the words that call it.
  var verbs: [[String]] {
    let below = (subcommands ?? []).filter { $0.commandName != "help" }
    return below.isEmpty ? [[]] : below.flatMap { command in command.verbs.map { [command.commandName] + $0 } }
  }
}

struct ToolDescription: Decodable {
  let command: DescribedCommand

  static func verbs() throws -> [[String]] {
    let dump = try ProcessRunner.run(["--experimental-dump-help"])
    return try JSONDecoder().decode(ToolDescription.self, from: Data(dump.output)).command.verbs
  }
}

@Suite struct OutputTests {
  @Test func helpOfEveryVerbHasExamplesAndExitStatus() throws {
    for verb in try ToolDescription.verbs() {
      let help = try ProcessRunner.run(verb + ["--help"])
      #expect(help.ending == .exit(0))
      #expect(help.errors.isEmpty)
      let example = "\n  tarn \(verb.joined(separator: " "))"
      for part in ["EXAMPLES\n", example, "EXIT STATUS\n", "OPTIONS:\n"] {
        #expect(help.outputText.contains(part), "tarn \(verb.joined(separator: " ")) --help lacks '\(part)'")
      }
    }
  }

  @Test func helpNamesEveryExitStatus() throws {
    let help = try ProcessRunner.run(["--help"]).outputText
    for code in [0, 1, 3, 10, 11, 12, 20, 21, 24, 25, 28, 64, 75, 130] {
      #expect(help.contains(try Regex("\\b\(code)\\s+[a-z]")), "the help lacks \(code)")
    }
  }

  @Test func eventsOfASyncTellWhenAndMirrorsByTheirNumbers() throws {
    let lake = try LakeFixture.make(.registered)
    let server = try LakeFixture.sources().server
    let (none, good) = (server.url("/none/img_{ordinal}.npy"), server.url("/images/img_{ordinal}.npy"))
    for (name, mirrors) in [("twice", ["--mirror", good]), ("nowhere", [])] {
      try lake.succeed(["source", "add", name, "--url", none, "--count", "2", "--dimension", "8"] + mirrors)
    }
    func events(_ source: String, _ type: String? = nil) throws -> [JSONValue] {
      let lines = try lake.run(["sync", source, "--json"]).outputText.split(separator: "\n")
      let found = try lines.map { line in try #require(JSONValue(parsing: String(line)), "\(line)") }
      return found.filter { type == nil || $0["type"]?.string == type }
    }
    let told = try events("twice")
    #expect(told.last?["type"]?.string == "summary" && told.count > 5)
    for event in told { #expect(event["at"]?.string.flatMap(Timestamp.date) != nil, "\(event)") }
    let asked = told.filter { $0["type"]?.string == "started" }.compactMap { $0["mirror"]?.integer }
    #expect(Set(asked) == [0, 1])
    // What failed is not done.
    let moved = try events("nowhere", "progress")
    #expect(!moved.isEmpty && moved.allSatisfy { $0["done"]?.integer == 0 && $0["shards"]?.integer == 2 })
    #expect(moved.contains { ($0["failed"]?.integer ?? 0) > 0 })
  }

  /// The calls whose standard output is looked at, one for each verb.
  private func calls(_ lake: LakeFixture) throws -> [[String]] {
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let captions = try LakeFixture.sources().directory.path + "/captions"
    // A lake that lost its catalog, for each of two runs.
    let lost = lake.directory.path + "/lost"
    try? FileManager.default.removeItem(atPath: lost)
    try FileManager.default.copyItem(atPath: lake.lake, toPath: lost)
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lost + "/catalog.sqlite" + suffix)
    }
    let lines = lake.directory.path + "/lines"
    try Disk.makeDirectory(lines)
    for ordinal in 0..<FeatureSources.shardCount {
      try Disk.writeAtomically(
        Array(String(repeating: "a line\n", count: FeatureSources.rowCount).utf8), to: "\(lines)/m_\(ordinal).txt")
    }
    // A training that was killed, to be given up.
    try lake.kill(
      [
        "train", "cut", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--seed",
        "7",
      ])
    return [
      ["abandon", "cut"],
      ["init", lake.directory.path + "/other"],
      ["source", "add", "more", "--directory", captions, "--dimension", "8", "--dtype", "float32"],
      ["source", "add", "meta", "--companion-of", "images", "--directory", lines],
      ["source", "list"], ["source", "show", "images"], ["sync"], ["limit"], ["pack", "meta"],
      ["import", "captions", captions + "/txt_0.npy"],
      ["train", "u", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1"],
      ["build", "w", "--trained", "u", "--images", "images"], ["status"], ["sql", "SELECT * FROM v_shard"], ["schema"],
      ["versions"],
      [
        "plan", "build", "x", "--trained", "u", "--images", "images", "--shards", "0", "--tasks",
        lake.directory.path + "/tasks",
      ],
      [
        "plan", "train", "y", "--images", "images", "--captions", "captions", "--nlist", "2", "--tasks",
        lake.directory.path + "/rounds",
      ],
      ["worker", lake.directory.path + "/tasks", "--task", "0"], ["ingest", lake.directory.path + "/tasks"],
      ["plan", "--again", lake.directory.path + "/tasks"],
      ["evaluate", "v@1", "--queries", queries, "-k", "5"], ["show", "v@1"], ["show", "t"],
      ["search", "v@1", "--queries", queries],
      ["locate", "v@1", "0", "39"], ["locate", "v@1", "0", "--columns", "text"],
      ["locate", "v@1", "--match", "text", "--values", lines + "/m_0.txt"], ["reproduce", "v@1"], ["pin", "v@1"],
      ["unpin", "v@1"], ["diff", "v@1", "w@1"],
      ["export", "v@1"], ["push", "v@1", lake.directory.path + "/published"], ["pull", try LakeFixture.published()],
      ["verify"], ["backup", lake.directory.path + "/backup.sqlite"],
      ["source", "probe", "captions"],
      ["source", "export", "captions"], ["evict", "captions"], ["revoke", "w@1", "--reason", "test"], ["gc"],
      ["train", "y", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1"],
      ["rename", "y", "z"], ["remove", "z"],
      ["adopt", "trained", "foreign", try LakeFixture.published() + "/v@1/trained.faiss"],
      ["adopt", "version", "foreign"] + (try LakeFixture.publishedOutputs()) + ["--trained", "t"],
      ["source", "add", "spare", "--url", "https://host.example/{ordinal}.npy", "--count", "3", "--dimension", "8"],
      ["source", "mirror", "add", "spare", "https://other.example/{ordinal}.npy"],
      ["source", "mirror", "list", "spare"],
      ["source", "mirror", "order", "spare", "1", "0"], ["source", "mirror", "remove", "spare", "1"],
      ["source", "extend", "spare", "--count", "4"], ["source", "refresh", "captions"],
      ["source", "set", "spare", "--modality", "text"], ["source", "drop-shards", "spare", "--shards", "2-3"],
      ["exclude", "images", "--confirm", "--reason", "test"],
      ["exclude", "images", "--confirm", "--reason", "test", "--dry-run"],
      ["source", "rename", "spare", "kept"], ["source", "remove", "kept"],
      ["convert", queries, lake.directory.path + "/queries.npz"],
      ["doctor"], ["schema", "--datasette"], ["rebuild-catalog", "--lake", lost],
    ]
  }

  @Test func everyVerbPrintsJSONAloneOnStandardOutput() throws {
    let lake = try LakeFixture.make(.built)
    let calls = try calls(lake)
    // Of a server ServeVerbTests knows what it prints: it ends by a signal alone.
    let missing = try ToolDescription.verbs().filter { verb in
      verb != ["serve"] && !calls.contains { $0.starts(with: verb) }
    }
    #expect(missing.isEmpty, "verbs that this test does not call: \(missing)")
    // An export of a source is in the format it was asked for, which is not JSON.
    for arguments in calls where !arguments.starts(with: ["source", "export"]) {
      let result = try lake.run(arguments + ["--json"])
      #expect(result.ending == .exit(0), "\(arguments): \(result.errorText)")
      let lines = result.outputText.split(separator: "\n")
      #expect(!lines.isEmpty, "\(arguments) printed nothing")
      // One document, which may have lines of its own, or one document a line.
      if (try? JSONSerialization.jsonObject(with: Data(result.output))) != nil { continue }
      for line in lines {
        let value = try? JSONSerialization.jsonObject(with: Data(line.utf8))
        #expect(value is [String: Any] || value is [Any], "\(arguments) printed '\(line)'")
      }
    }
  }

  @Test func everyVerbKeepsProgressOffStandardOutput() throws {
    let quiet = try LakeFixture.make(.built)
    let loud = try quiet.copy()
    for (first, second) in zip(try calls(quiet), try calls(loud)) {
      let said = try loud.run(second)
      #expect(said.ending == .exit(0), "\(second): \(said.errorText)")
      #expect(!said.outputText.contains("\r") && !said.outputText.contains("\u{1B}"))
      // Doctor prints less when it is quiet, and status measures nothing twice.
      // A catalog is rebuilt once.
      guard first[0] != "doctor", first[0] != "rebuild-catalog" else { continue }
      let plain = try quiet.run(first + ["--quiet"])
      #expect(plain.errors.isEmpty, "\(first) --quiet said \(plain.errorText)")
      #expect(
        plain.outputText.split(separator: "\n").count == said.outputText.split(separator: "\n").count,
        "\(first): \(said.outputText)")
    }
  }

  /// `--quiet` leaves out what one can do without, and nothing that is lost or must go.
  @Test func quietLeavesInWhatMustBeSeen() throws {
    let lake = try LakeFixture.make(.built)
    let (inner, ids) = (lake.lake + "/inner", lake.directory.path + "/ids")
    let advised = try lake.run(["init", inner])
    #expect(advised.errorText.contains("is inside the lake \(lake.lake)"), "\(advised.errorText)")
    let quiet = try lake.run(["init", inner + "2", "--quiet"])
    #expect(quiet.ending == .exit(0) && quiet.errors.isEmpty, "\(quiet.errorText)")
    try Data("1\n".utf8).write(to: URL(fileURLWithPath: ids))
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"])
    let pushed = try lake.run(["push", "v@1", lake.directory.path + "/place", "--quiet"])
    #expect(
      pushed.ending == .exit(0) && pushed.errorText.contains("1 row of v@1 that was excluded since it was made"),
      "\(pushed.errorText)")
    let help = try lake.run(["push", "--help"]).outputText.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(help.contains("Print no progress, notes or advice; what is lost or damaged,"), "\(help)")
  }

  @Test func failuresAreJSONToo() throws {
    let lake = try LakeFixture.make(.synced)
    for arguments in [["show", "none@1"], ["build", "v", "--trained", "none", "--images", "images"]] {
      let result = try lake.run(arguments + ["--json"])
      #expect(result.ending == .exit(64))
      #expect(result.errorLines.count == 1)
      let document = try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: [String: Any]]
      let error = try #require(document?["error"])
      #expect(error["exit"] as? Int == 64)
      #expect((error["message"] as? String)?.contains("none") == true)
    }
  }

  /// What to do is no part of what happened, for programs; people read both in one line.
  @Test func whatToDoIsNoPartOfTheMessage() throws {
    let lake = try LakeFixture.make(.registered)
    try lake.succeed([
      "source", "add", "dead", "--url", "http://127.0.0.1:1/{ordinal}.npy", "--count", "2", "--dimension", "8",
    ])
    let result = try lake.run(["sync", "dead", "--json"])
    #expect(result.ending == .exit(75), "\(result.errorText)")
    let last = try #require(result.outputText.split(separator: "\n").last)
    let error = try #require(JSONValue(parsing: String(last))?["error"])
    #expect(error["message"]?.string == "2 shards failed", "\(last)")
    #expect(error["hint"]?.string == "run it again to retry", "\(last)")
    #expect(result.errorLines.last == "tarn: 2 shards failed; run it again to retry", "\(result.errorText)")
  }

  @Test func aSecondRunChangesNoRowAndNoByte() throws {
    let lake = try LakeFixture.make(.built)
    let before = try lake.contents()
    #expect(before.count > 40)
    for stage in [LakeStage.synced, .trained, .built] {
      for arguments in stage.arguments(try LakeFixture.sources()) {
        try lake.succeed(arguments)
        let after = try lake.contents()
        #expect(after == before, "\(arguments[0]) changed \(after.difference(from: before))")
      }
    }
  }

  @Test func aReaderThatGoesAwayEndsQuietly() throws {
    let lake = try LakeFixture.make(.built)
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"
    let process = try lake.start(["sql", sql, "--format", "jsonl"])
    let result = process.finish(readingAtMost: 10)
    #expect(result.ending == .signal(SIGPIPE))
    #expect(result.errors.isEmpty)
  }
}
