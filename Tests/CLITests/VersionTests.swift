// What `tarn --version` says: this build, and what it runs on.

import Foundation
import Lake
import TestSupport
import Testing

@Suite struct VersionTests {
  private let libraries = ["SQLite", "libcurl", "OpenBLAS", "FAISS"]

  @Test func theVersionNamesTheCommitAndEveryLibrary() throws {
    let result = try ProcessRunner.run(["--version"])
    #expect(result.ending == .exit(0) && result.errorText.isEmpty, "\(result.errorText)")
    let lines = result.outputText.split(separator: "\n").map(String.init)
    #expect(lines.first == "tarn \(Tool.version)")
    try #require(lines.count == 2 + libraries.count, "\(result.outputText)")
    #expect(lines[1].wholeMatch(of: /commit    (unknown|[0-9a-f]{7,40}(\+changes)?)/) != nil, "\(lines[1])")
    for (name, line) in zip(libraries, lines.dropFirst(2)) {
      #expect(line.hasPrefix(name.padding(toLength: 10, withPad: " ", startingAt: 0)), "\(line)")
      #expect(line.contains(/[0-9]+\.[0-9]+\.[0-9]+/), "\(line)")
    }
  }

  @Test func asOneDocument() throws {
    struct Answer: Decodable {
      let version: String
      let commit: String
      let libraries: [String: String]
    }
    let result = try ProcessRunner.run(["--version", "--json"])
    let answer = try JSONDecoder().decode(Answer.self, from: Data(result.output))
    #expect(answer.version == Tool.version && !answer.commit.isEmpty)
    #expect(Set(answer.libraries.keys) == Set(libraries))
  }

  /// Somebody who moved the tool alone is told so, and still gets the rest.
  @Test func withoutTheHelperBesideItTheRestIsSaid() throws {
    let directory = try TemporaryDirectory()
    let copy = directory.path + "/tarn"
    try ExecutableFile.copy(ProcessRunner.tarn, to: copy)
    let process = try RunningProcess(copy, ["--version"], environment: ProcessRunner.environment)
    let result = process.finish(within: .seconds(60))
    #expect(result.ending == .exit(0), "\(result.errorText)")
    #expect(result.outputText.contains("FAISS     not known: tarn-adopt"), "\(result.outputText)")
    #expect(result.outputText.contains("SQLite    3."))
  }
}
