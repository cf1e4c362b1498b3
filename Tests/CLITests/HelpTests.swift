// Help as people use it: lines that fit, and examples that the tool takes as they stand.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct HelpTests {
  private struct Page: Sendable {
    let verb: [String]
    let text: String

    /// The command lines under EXAMPLES, whole.
    var examples: [String] {
      guard let start = text.range(of: "\nEXAMPLES\n") else { return [] }
      var found: [String] = []
      for line in text[start.upperBound...].split(separator: "\n", omittingEmptySubsequences: false) {
        if let last = found.last, last.hasSuffix("\\") {
          found[found.count - 1] = String(last.dropLast()) + line.drop { $0 == " " }
        } else if line.hasPrefix("  tarn ") || line.hasPrefix("  ") && line.contains(" | tarn ") {
          found.append(String(line.drop { $0 == " " }))
        } else if line.first.map({ $0 != " " }) == true {
          break
        }
      }
      return found
    }
  }

  /// The page of every verb, asked for once for all tests.
  private static let pages: Result<[Page], any Error> = Result {
    try ([[]] + ToolDescription.verbs()).map { Page(verb: $0, text: try ProcessRunner.run($0 + ["--help"]).outputText) }
  }

  private func pages() throws -> [Page] { try Self.pages.get() }

  /// No line is wider than the 80 columns there are without a terminal, but for commands, which are broken before
  /// options alone.
  @Test func linesFit() throws {
    for page in try pages() {
      for line in page.text.split(separator: "\n") where line.columnCount > 80 {
        let isCommand = line.hasPrefix("  tarn ") || line.contains(" && tarn ")
        #expect(isCommand && line.columnCount < 120, "tarn \(page.verb.joined(separator: " ")) --help: \(line)")
      }
    }
  }

  /// One blank line stands between parts, and none at the end.
  @Test func partsAreOneLineApart() throws {
    for page in try pages() {
      let verb = "tarn \(page.verb.joined(separator: " ")) --help"
      #expect(!page.text.contains("\n\n\n"), "\(verb)")
      #expect(page.text.hasSuffix("\n") && !page.text.hasSuffix("\n\n"), "\(verb)")
    }
  }

  /// Help offers what is taken, and speaks of options that the verb has.
  @Test func helpSaysWhatIsTaken() throws {
    for verb in [["train"], ["plan", "train"]] {
      let help = try ProcessRunner.run(verb + ["--help"]).outputText
      let refine = try #require(help.components(separatedBy: "  --refine ").dropFirst().first?.prefix(400))
      let values = try #require(refine.firstMatch(of: /\(values:\s+([^)]*)\)/)?.output.1)
      #expect(values.split { ", \n".contains($0) } == ["sq8", "fp16"], "\(values)")
    }
    let refused = try ProcessRunner.run(["train", "t", "--images", "i", "--nlist", "1", "--refine", "flat"])
    #expect(refused.ending == .exit(64) && refused.errorText.contains("sq8"), "\(refused.errorText)")
    // Options that other verbs have are said of those.
    for page in try pages() where !page.verb.isEmpty {
      guard let part = page.text.components(separatedBy: "\nENCODER:\n").dropFirst().first else { continue }
      let own = Set(page.text.matches(of: /(?m)^  (?:-[a-z], )?(--[a-z-]+)/).map { String($0.output.1) })
      for word in part.matches(of: /--[a-z-]+/).map({ String($0.output) }) {
        #expect(own.contains(word), "tarn \(page.verb.joined(separator: " ")) --help: \(word)")
      }
    }
  }

  /// Each example is run where there is no lake: what the parser does not take says where help is.
  @Test func everyExampleIsTaken() throws {
    let directory = try TemporaryDirectory()
    var (count, left) = (0, [String]())
    for page in try pages() {
      #expect(!page.examples.isEmpty, "tarn \(page.verb.joined(separator: " "))")
      for example in page.examples {
        // Other programs' words are their own.
        let marks: Set = ["|", ">", "&&", "<", "2>", "&"]
        let commands = try QuotedWords.split(example).split { marks.contains($0) }.filter { $0.first == "tarn" }
        #expect(!commands.isEmpty, "\(example)")
        // These need no lake, and would reach out of the test's directory.
        if example.contains("tarn pull") && example.contains("--file") || example.contains(" /nvme") {
          left.append(example)
          continue
        }
        for words in commands {
          let result = try ProcessRunner.run(
            Array(words.dropFirst()), environment: ["TARN_LAKE": directory.path + "/none"], directory: directory.path)
          #expect(!result.errorText.contains("see `tarn"), "\(example): \(result.errorText)")
          count += 1
        }
      }
    }
    #expect(count > 100 && left.count <= 5, "\(count) run, left out: \(left)")
  }
}
