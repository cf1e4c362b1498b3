// Advice names what there is: each option that a message or a page tells of is one of
// the verb beside it, or of the verb that says so.

import Foundation
import Synchronization
import Testing
import TestSupport

/// The options of every verb, as the tool itself describes them.
enum VerbOptions {
  private struct Command: Decodable {
    struct Argument: Decodable {
      struct Name: Decodable {
        let kind: String
        let name: String
      }
      let names: [Name]?
    }
    let commandName: String
    let subcommands: [Command]?
    let arguments: [Argument]?

    /// By the words that call it, below `words`.
    func options(below words: [String]) -> [[String]: Set<String>] {
      let own = (arguments ?? []).flatMap { $0.names ?? [] }.filter { $0.kind == "long" }.map { "--\($0.name)" }
      return (subcommands ?? []).reduce(into: [words: Set(own)]) { all, command in
        all.merge(command.options(below: words + [command.commandName])) { first, _ in first }
      }
    }
  }

  private struct Tool: Decodable { let command: Command }

  private static let known = Mutex<[[String]: Set<String>]?>(nil)

  static func all() throws -> [[String]: Set<String>] {
    try known.withLock { known in
      if let known { return known }
      let dump = try ProcessRunner.run(["--experimental-dump-help"])
      let found = try JSONDecoder().decode(Tool.self, from: Data(dump.output)).command.options(below: [])
      known = found
      return found
    }
  }

  /// The verb that words call: the longest that is one; nil for none.
  static func verb(_ words: [String]) throws -> [String]? {
    let all = try all()
    let verb = (1...3).reversed().lazy.map { Array(words.prefix($0)) }.first { all[$0] != nil }
    return verb
  }

  /// Options of the words that a command does not have.
  static func foreign(_ words: [String], to verb: [String]) throws -> [String] {
    let own = try all()[verb] ?? []
    return words.filter { $0.hasPrefix("--") && $0.count > 2 }
      .compactMap { $0.firstMatch(of: /^--[a-z0-9-]+/).map { String($0.0) } }.filter { !own.contains($0) }
  }

  /// Everything in a text that no verb has: of commands between backticks, and of
  /// options outside of them, which are those of a verb that says so.
  ///
  /// - Parameters:
  ///   - text: A message, or a page.
  ///   - speaker: Who says it; nil for a page, where an option may be of any verb.
  /// - Returns: Commands and options.
  /// - Throws: When the tool cannot be asked.
  static func unknown(in text: String, saidBy speaker: [String]?) throws -> [String] {
    var unknown: [String] = []
    for (place, part) in text.split(separator: "`", omittingEmptySubsequences: false).enumerated() {
      let words = part.split { " \n,;:()[]|'\"".contains($0) }.map(String.init)
      if place % 2 == 1 {
        guard words.first == "tarn", words.count > 1 else { continue }
        let call = Array(words.dropFirst())
        // A word that no verb begins with is a place for one.
        guard let verb = try verb(call) else { continue }
        unknown += try foreign(call, to: verb).map { "`\(part)`: \($0)" }
      } else if let speaker {
        unknown += try foreign(words, to: speaker)
      }
    }
    return unknown
  }
}

@Suite struct HintTests {
  /// Text of Swift with the values that it puts into strings left out.
  private func withoutValues(_ text: String) -> String {
    var (result, depth) = ("", 0)
    var last: Character = " "
    for character in text {
      if depth > 0 {
        depth += character == "(" ? 1 : character == ")" ? -1 : 0
      } else if last == "\\", character == "(" {
        depth = 1
        result.removeLast()
        result.append("X")
      } else {
        result.append(character)
      }
      last = character
    }
    return result
  }

  @Test func everyCommandThatIsNamedHasItsOptions() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    var (unknown, count): ([String], Int) = ([], 0)
    for folder in ["Sources", "docs", "README.md", "CHANGELOG.md"] {
      let files = (FileManager.default.enumerator(atPath: "\(root)/\(folder)")?.compactMap { $0 as? String } ?? [])
        .map { "\(root)/\(folder)/\($0)" }
      for file in files.isEmpty ? ["\(root)/\(folder)"] : files where file.hasSuffix(".swift") || file.hasSuffix(".md")
      {
        let text = try String(contentsOfFile: file, encoding: .utf8)
        for line in text.split(separator: "\n") where line.contains("`tarn ") {
          let said = file.hasSuffix(".swift") ? withoutValues(String(line)) : String(line)
          unknown += try VerbOptions.unknown(in: said, saidBy: nil).map { "\(file): \($0)" }
          count += 1
        }
      }
    }
    #expect(unknown.isEmpty, "\(unknown.joined(separator: "\n"))")
    #expect(count > 100)
  }

  /// A shard in the middle is left out by the verb, too, so nothing says that only the last ones are.
  @Test func shardsThatAreNowhereAreCountedAndCanBeLeftOut() throws {
    let lake = try LakeFixture.make(.empty)
    let sizes = lake.lake + ".sizes"
    try (0..<6).map { "gone_\($0).npy, 160, 4\n" }.joined().write(toFile: sizes, atomically: true, encoding: .utf8)
    try lake.succeed([
      "source", "add", "gone", "--sizes", sizes, "--url", "file://\(lake.lake)/gone_{ordinal}.npy", "--count", "6",
      "--dimension", "4",
      "--dtype", "float16",
    ])
    let failed = try lake.run(["sync", "gone", "--quiet", "--patience", "0"])
    #expect(failed.ending == .exit(3))
    #expect(failed.errorText.contains("or leave it out with `tarn source drop-shards`"), "\(failed.errorText)")
    #expect(failed.errorText.contains("and 1 more shard like these"), "\(failed.errorText)")
    #expect(failed.errorText.contains(", pass over it with `tarn sync gone --missing skip`,"), "\(failed.errorText)")
    try lake.succeed(["source", "drop-shards", "gone", "--shards", "2"])
  }

  /// One in the middle whose rows nobody knows cannot be dropped, and nobody is told to.
  @Test func onlyWhatCanBeDroppedIsAdvisedToBe() throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed([
      "source", "add", "gone", "--url", "file://\(lake.lake)/gone_{ordinal}.npy", "--count", "3", "--dimension", "4",
      "--dtype", "float16",
    ])
    for (shards, isLast) in [("1", false), ("2", true)] {
      let failed = try lake.run(["sync", "gone", "--shards", shards, "--quiet", "--patience", "0"])
      #expect(failed.ending == .exit(3))
      #expect(failed.errorText.contains("pass over it with `tarn sync gone --missing skip`"), "\(failed.errorText)")
      #expect(failed.errorText.contains("drop-shards") == isLast, "\(failed.errorText)")
      let dropped = try lake.run(["source", "drop-shards", "gone", "--shards", shards])
      #expect(dropped.ending == .exit(isLast ? 0 : 64), "\(dropped.errorText)")
    }
  }

  @Test func whatNoVerbHasIsFound() throws {
    let hint = "`tarn sync images --bad-rows skip`, or leave it out with --shards (`tarn evict a --old`) and --nothing"
    #expect(
      try VerbOptions.unknown(in: hint, saidBy: ["evaluate"])
        == ["`tarn sync images --bad-rows skip`: --bad-rows", "--shards", "--nothing"])
    #expect(
      try VerbOptions.unknown(in: hint, saidBy: ["build"]) == [
        "`tarn sync images --bad-rows skip`: --bad-rows", "--nothing",
      ])
  }

  /// What holds of every shard is said once, with the option of the verb that was called.
  @Test func addressesInsideAreRefusedOnce() throws {
    let lake = try PairedShards([20, 20], seed: 21).lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
    ])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    let document = lake.directory.path + "/v.json"
    try Data(lake.succeed(["export", "v@1"]).output).write(to: URL(fileURLWithPath: document))
    let other = try LakeFixture.make(.empty)
    for budget in [[], ["--budget", "1GB"]] {
      let result = try other.run(["reproduce", "--from", document] + budget)
      #expect(result.ending == .exit(64), "\(result.errorText)")
      #expect(result.errorText.split(separator: "\n").count == 1, "\(result.errorText)")
      #expect(result.errorText.contains("`tarn reproduce --from DOCUMENT --allow-inside`"), "\(result.errorText)")
      #expect(result.errorText.contains("`tarn source mirror add images DIR`"), "\(result.errorText)")
    }
    // Elsewhere on this machine they are as good.
    for source in ["images", "captions"] {
      let moved = "\(lake.directory.path)/moved-\(source)"
      try FileManager.default.moveItem(atPath: "\(lake.directory.path)/\(source)", toPath: moved)
      try other.succeed(["source", "mirror", "add", source, moved])
    }
    let made = try other.succeed(["reproduce", "--from", document, "--budget", "1GB"]).outputText
    #expect(made.contains("identical"), "\(made)")
  }

  /// Help lists no value that the verb refuses.
  @Test func helpOfConvertListsWhatItTakes() throws {
    let help = try ProcessRunner.run(["convert", "--help"]).outputText
    #expect(help.contains("float16") && !help.contains("bfloat16") && !help.contains("int8"), "\(help)")
    #expect(try ProcessRunner.run(["convert", "a", "b", "--dtype", "uint8"]).ending == .exit(64))
  }
}
