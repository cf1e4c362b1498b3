// What a pull and a push say of places that lack, refuse or are something else: with the
// status that docs/PUBLISH.md gives it, and advice that is about versions.

import Base
import Foundation
import Glibc
import Testing
import TestSupport

@Suite struct PlaceErrorTests {
  /// Pulls from a server that answers otherwise for some files.
  private func pull(
    _ name: String, _ isOther: @escaping @Sendable (String) -> Bool,
    _ answer: @escaping @Sendable (HostileServer.Request) -> ScriptedAnswer
  ) throws -> ProcessResult {
    let root = try LakeFixture.published()
    let server = try HostileServer { request in
      guard !isOther(request.target) else { return answer(request) }
      let path = root + request.target.dropFirst("/pub".count).replacing("%40", with: "@")
      return FileManager.default.contents(atPath: path).map { .file(Array($0), for: request) } ?? .answer(404)
    }
    let lake = try LakeFixture.make(.empty)
    let result = try lake.run(["pull", server.url("/pub"), "v@1", "--patience", "0"])
    #expect(result.errorLines.count == 1, "\(name): \(result.errorText)")
    // Versions have no mirrors, and no shards that could be dropped.
    for word in ["shard", "mirror"] { #expect(!result.errorText.contains(word), "\(name): \(result.errorText)") }
    return result
  }

  @Test func aPlaceThatLacksOrRefusesIsToldAsOne() throws {
    let answers: [(String, Int32, @Sendable (HostileServer.Request) -> ScriptedAnswer)] = [
      ("not there", 21, { _ in .answer(404) }),
      ("refused", 1, { _ in .answer(403) }),
      ("a loop", 1, { .answer(302, headers: ["Location: \($0.target)"]) }),
      ("nowhere", 20, { _ in .answer(302) }),
      ("another length", 20, { _ in .answer(200, body: [1, 2, 3]) }),
    ]
    for (name, status, answer) in answers {
      for file in [".json", ".faiss"] {
        let result = try pull("\(name) \(file)", { $0.hasSuffix(file) }, answer)
        #expect(result.ending == .exit(status), "\(name) \(file): \(result.ending) \(result.errorText)")
      }
    }
  }

  @Test func whatIsNoFileOfAPlaceIsWrong() throws {
    let lake = try LakeFixture.make(.empty)
    for file in ["index.json", "v@1/v.export.json", "v@1/v.lock.json"] {
      let forms: [(String, (String) throws -> Void)] = [
        ("a pipe", { mkfifo($0, 0o600) }),
        ("a directory", { try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: false) }),
        (
          "20 GB",
          {
            try Data().write(to: URL(fileURLWithPath: $0))
            truncate($0, 20_000_000_000)
          }
        ),
      ]
      for (name, form) in forms {
        let place = try ForgedPlace(lake)
        try FileManager.default.removeItem(atPath: "\(place.path)/\(file)")
        try form("\(place.path)/\(file)")
        let result = try lake.run(["pull", place.path, "--patience", "0"])
        #expect(result.ending == .exit(20), "\(file), \(name): \(result.ending) \(result.errorText)")
        #expect(result.errorLines.count == 1)
      }
    }
  }

  @Test func aBucketThatIsNoneIsNamedAsItWasGiven() throws {
    let lake = try LakeFixture.make(.built)
    let result = try lake.run(["push", "v@1", "s3://b/x", "--patience", "0"])
    #expect(result.ending == .exit(64) && result.errorText.contains("s3://b/x;"), "\(result.errorText)")
  }

  @Test func whatIsTooLongForALineIsCut() throws {
    let lake = try LakeFixture.make(.built)
    let long = String(repeating: "a", count: 60_000)
    for arguments in [["pull", long, "v@1"], ["push", "v@1", long], ["pull", "https://\(long)/x", "v@1"]] {
      let result = try lake.run(arguments + ["--patience", "0"])
      #expect(result.ending != .exit(0))
      let length = result.errorText.utf8.count
      #expect(length > 2_000 && length < 5_000, "\(arguments[0]) \(arguments[1].prefix(20)): \(length)")
    }
  }
}

/// How far a version is whose outputs others made.
@Suite(.tags(.slow)) struct ProgressOfOthersTests {
  private static let columns =
    "state || ' ' || encoded || ' ' || inputs_left || ' ' || outputs_done || ' ' || rows_encoded"

  private func progress(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT \(Self.columns) FROM v_build_progress WHERE version = 'v@1'")
  }

  @Test func aPulledVersionIsEncoded() throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(["pull", LakeFixture.published()])
    #expect(try progress(lake) == progress(LakeFixture.make(.built)))
    #expect(try lake.succeed(["status"]).outputText.contains("v@1"))
  }

  @Test func soIsOneThatTasksMade() throws {
    let planned = try PlannedLake.make()
    #expect(try progress(planned.lake).allSatisfy { $0.hasSuffix(" 0 2 0 0") })
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try progress(planned.lake) == ["sealed 2 0 2 40"])
  }
}
