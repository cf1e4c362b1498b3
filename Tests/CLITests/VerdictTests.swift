// Verdicts of the verbs: 'identical' only where everything that is stated holds,
// and a catalog that no longer says what was sealed is not believed by any of them.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct VerdictTests {
  private func original() throws -> (lake: LakeFixture, document: JSONValue) {
    let lake = try LakeFixture.make(.built)
    let text = try lake.succeed(["export", "v@1"]).outputText
    return (lake, try #require(JSONValue(parsing: text)))
  }

  /// Replays a document in a new lake.
  private func replay(_ text: String) throws -> (result: ProcessResult, lake: LakeFixture) {
    let lake = try LakeFixture.make(.empty)
    let path = lake.directory.path + "/v.json"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return (try lake.run(["reproduce", "--from", path, "--allow-inside", "--json", "--quiet"]), lake)
  }

  private func answer(_ result: ProcessResult) -> JSONValue? {
    result.outputText.split(separator: "\n").first.flatMap { JSONValue(parsing: String($0)) }
  }

  /// A document whose digest is made to fit what it says now.
  private func resealed(_ document: JSONValue, in directory: String) throws -> JSONValue? {
    let path = directory + "/resealed.json"
    try Data(document.text.utf8).write(to: URL(fileURLWithPath: path))
    guard let read = try? VersionExport(reading: path), case .object(var members) = document,
      let difference = read.verdict(segmentFormats: 1...1).differences.first(where: { $0.field == "version_sha256" })
    else { return nil }
    members["version_sha256"] = .string(String(difference.expected.prefix(64)))
    return .object(members)
  }

  @Test func noOtherContentIsIdentical() throws {
    let (lake, document) = try original()
    let server = try LakeFixture.sources().server
    var random = SplitMix64(seed: 41)
    var faults: [String] = []
    for round in 0..<TestRounds.count(30, full: 400) {
      let mutation = DocumentMutation(of: document, &random)
      // One that lies throughout is as consistent as an honest one.
      let lie = round % 3 == 0 ? try resealed(mutation.value, in: lake.directory.path) : nil
      let earlier = server.requests.count
      let (result, made) = try replay((lie ?? mutation.value).text)
      let place = "\(mutation.path)\(lie == nil ? "" : ", sealed anew") \(result.ending): \(result.errorText)"
      guard case .exit(let status) = result.ending, [0, 1, 12, 20, 21, 24, 64, 75].contains(status) else {
        faults.append(place)
        continue
      }
      if status == 0, answer(result)?["outcome"]?.string == "identical" {
        let unchecked = (answer(result)?["unchecked"]?.elements ?? []).compactMap { $0["what"]?.string }
        let field = mutation.path.replacing(/\[\d+\]/, with: "[]")
        // Every shard of these documents is pinned.
        let isSaid = unchecked.contains { !$0.contains("without") && field.hasPrefix($0.split(separator: " ")[0]) }
        if !isSaid { faults.append(place) }
      } else if result.errorLines.count != 1 {
        faults.append(place)
      }
      let outside = server.requests.dropFirst(earlier).map(\.target).filter { !$0.hasPrefix("/images/") }
      if !outside.isEmpty { faults.append("\(place): asked for \(outside)") }
      let files = try FileManager.default.contentsOfDirectory(atPath: made.directory.path).sorted()
      if files != ["lake", "v.json"] { faults.append("\(place): \(files)") }
    }
    #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
  }

  @Test func otherWordsAreIdentical() throws {
    let (_, document) = try original()
    var random = SplitMix64(seed: 42)
    for _ in 0..<TestRounds.count(2, full: 100) {
      let (result, _) = try replay(DocumentMutation.reworded(document, &random))
      #expect(result.ending == .exit(0), "\(result.errorText)")
      #expect(answer(result)?["outcome"]?.string == "identical")
      #expect(answer(result)?["differences"] == .array([]))
    }
  }

  @Test func aLieIsNamedByItsField() throws {
    let (lake, document) = try original()
    func lied(_ from: String, _ to: String) throws -> ProcessResult {
      let text = document.text.replacing(from, with: to)
      #expect(text != document.text)
      let value = try #require(JSONValue(parsing: text))
      let lie = try #require(try resealed(value, in: lake.directory.path))
      return try replay(lie.text).result
    }
    let first = try lied("\"first_id\":20", "\"first_id\":25")
    #expect(
      first.ending == .exit(24) && first.errorText.contains("inputs[1].first_id is 20, not 25"), "\(first.errorText)")
    let lists = try lake.text("SELECT lists_sha256 FROM output_shard WHERE ordinal = 1")
    let second = try lied(lists, String(repeating: "0", count: 64))
    #expect(second.ending == .exit(24) && second.errorText.contains("outputs[1].lists_sha256"), "\(second.errorText)")
    let plain = try replay(document.text.replacing("\"first_id\":20", with: "\"first_id\":25"))
    #expect(plain.result.ending == .exit(20) && plain.result.errorText.contains("version_sha256"))
    #expect(try plain.lake.texts("SELECT name FROM source").isEmpty, "nothing was registered for it")
  }

  // MARK: A catalog that says something else

  @Test(arguments: [
    ("UPDATE trained_index SET seed = 2", "trained.seed"),
    ("UPDATE version_input SET first_id = first_id + 1 WHERE ordinal = 1", "inputs[1].first_id"),
    ("UPDATE output_shard SET lists_sha256 = lower(hex(zeroblob(32)))", "outputs[0].lists_sha256"),
    ("UPDATE index_version SET environment = '{}'", "environment"),
  ])
  func aChangedCatalogIsBelievedByNobody(sql: String, field: String) throws {
    let lake = try LakeFixture.make(.built)
    try lake.tamper(sql)
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    for arguments in [
      ["reproduce", "v@1", "--quiet"], ["evaluate", "v@1", "--queries", queries, "--quiet"], ["locate", "v@1", "0"],
    ] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(20), "\(arguments): \(result.outputText)")
      #expect(result.errorLines.count == 1 && result.errorText.contains(field), "\(result.errorText)")
    }
    let verified = try lake.run(["verify"])
    #expect(verified.ending == .exit(20) && verified.outputText.contains(field), "\(verified.outputText)")
    let examined = try lake.run(["doctor", "--quiet"])
    #expect(examined.ending == .exit(20) && examined.outputText.contains(field), "\(examined.outputText)")
  }

  @Test func anExportIsOfWhatWasSealed() throws {
    let lake = try LakeFixture.make(.built)
    try lake.tamper("UPDATE version_input SET first_id = first_id + 1 WHERE ordinal = 1")
    let result = try lake.run(["export", "v@1"])
    #expect(result.ending == .exit(20) && result.output.isEmpty, "\(result.outputText)")
  }

  @Test func aSegmentOfAnotherShardIsNotMerged() throws {
    let lake = try LakeFixture.make(.built)
    try lake.tamper(
      """
      UPDATE segment SET sha256 = (SELECT x.sha256 FROM segment x WHERE x.sha256 <> segment.sha256 LIMIT 1)
      WHERE shard_sha256 = (SELECT min(shard_sha256) FROM segment)
      """)
    // Other outputs than v@1 has, which are merged anew.
    let result = try lake.run(
      ["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    #expect(result.ending == .exit(20) && result.errorText.contains("another shard's rows"), "\(result.errorText)")
  }

  @Test func whatAnIdenticalDoesNotCoverIsSaid() throws {
    let lake = try LakeFixture.make(.built)
    let said = try lake.succeed(["reproduce", "v@1", "--quiet"]).outputText
    #expect(said.contains("v@1 is identical") && said.contains("not checked: training of t"))
    // As an older tarn sealed it.
    try lake.tamper("UPDATE event SET detail = json_remove(detail, '$.environment_sha256') WHERE verb = 'sealed'")
    let older = try lake.succeed(["reproduce", "v@1", "--quiet"]).outputText
    #expect(older.contains("environment (recorded by a tarn that kept no digest of it)"))
  }

  // MARK: Documents

  @Test(arguments: ["removed", "truncated", "altered", "of another version"])
  func aDocumentIsVerifiedAndRestored(harm: String) throws {
    let lake = try LakeFixture.make(.built)
    let path = lake.lake + "/versions/v@1/v.export.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    switch harm {
    case "removed": try FileManager.default.removeItem(atPath: path)
    case "truncated": try String(text.dropLast(text.count / 2)).write(toFile: path, atomically: true, encoding: .utf8)
    case "altered":
      try text.replacing("/images/img_0.npy", with: "/images/img_9.npy")
        .write(toFile: path, atomically: true, encoding: .utf8)
    default: try text.replacing("v@1", with: "w@1").write(toFile: path, atomically: true, encoding: .utf8)
    }
    let found = try lake.run(["verify", "--json"])
    #expect(found.ending == .exit(20))
    let damages = answer(found)?["damages"]?.elements ?? []
    #expect(damages.compactMap { $0["kind"]?.string } == ["document"] && damages[0]["path"]?.string == path)
    #expect(try lake.run(["doctor", "--quiet"]).outputText.contains("the document of v@1"))
    let repaired = try lake.run(["verify", "--repair"])
    #expect(repaired.ending == .exit(20) && repaired.outputText.contains("restored"), "\(repaired.outputText)")
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    try lake.succeed(["verify"])
    try lake.succeed(["doctor", "--quiet"])
  }

  @Test func aDocumentInOtherWordsIsWhole() throws {
    let (lake, document) = try original()
    let path = lake.lake + "/versions/v@1/v.export.json"
    try document.text.write(toFile: path, atomically: true, encoding: .utf8)
    try lake.succeed(["verify"])
    #expect(try String(contentsOfFile: path, encoding: .utf8) == document.text)
  }

  // MARK: --expect

  @Test func theHeadThatWasNotedIsExpected() throws {
    let lake = try LakeFixture.make(.built)
    let before = answer(try lake.succeed(["verify", "--json"]))
    let head = try #require(before?["history"]?["hash"]?.string)
    let digest = try lake.text("SELECT version_sha256 FROM index_version")
    try lake.succeed(["pin", "v@1", "--reason", "later"])
    try lake.succeed(["verify", "--expect", head, "--expect", "v@1=\(digest)"])
    #expect(try lake.succeed(["verify"]).outputText.contains("head of the history: event "))
    let wrong = try lake.run(["verify", "--expect", String(repeating: "0", count: 64)])
    #expect(wrong.ending == .exit(20) && wrong.outputText.contains("(the history) has no event with the hash 000"))
    #expect(wrong.outputText.contains("an older catalog was put back, it was made again"), "\(wrong.outputText)")
    let other = try lake.run(["verify", "--expect", "v@1=\(head)"])
    #expect(other.ending == .exit(20) && other.outputText.contains("version_sha256 is \(digest), not \(head)"))
    #expect(try lake.run(["verify", "--expect", "abc"]).ending == .exit(64))
  }
}
