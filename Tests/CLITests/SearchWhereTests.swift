// `search --where` from end to end: what is found is what holds among all rows, exactly; what is not here, not there or
// not comparable is told.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SearchWhereTests {
  private static let count = FeatureSources.rowCount

  /// What a companion says of a row: numbers, texts, flags, nulls and empty rows.
  private static func row(_ ordinal: Int, _ row: Int) -> [String: JSONValue] {
    if row % 9 == 4 { return [:] }
    var values: [String: JSONValue] = [
      "n": .count(row), "shard": .count(ordinal), "url": .string("https://h/\(ordinal)/\(row)"),
      "even": .bool(row % 2 == 0),
      "wide": .string("\(row * 100)"),
    ]
    if row % 3 == 0 { values["caption"] = .string("a picture of row \(row)") }
    return values
  }

  private static func lines(_ ordinal: Int, _ count: Int = count) -> String {
    (0..<count).map { JSONValue.object(row(ordinal, $0)).text + "\n" }.joined()
  }

  private func lake(_ files: [String: String]? = nil) throws -> (lake: LakeFixture, search: [String]) {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/meta"
    try Disk.makeDirectory(directory)
    for (name, text) in files ?? ["m_0.jsonl": Self.lines(0), "m_1.jsonl": Self.lines(1)] {
      try Disk.writeAtomically(Array(text.utf8), to: "\(directory)/\(name)")
    }
    try lake.succeed(["source", "add", "meta", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "meta"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(4, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    return (lake, ["search", "v@1", "--queries", queries, "--nprobe", "3", "--json"])
  }

  private func ids(_ result: ProcessResult) throws -> [[Int]] {
    result.outputText.split(separator: "\n").map { line in
      (JSONValue(parsing: String(line))?["ids"]?.elements ?? []).compactMap { $0.integer.map { Int($0) } }
    }
  }

  /// Conditions, and what they say in plain code of a row's values.
  private static let conditions: [(text: String, holds: @Sendable ([String: JSONValue]) -> Bool)] = [
    ("n >= 10", { ($0["n"]?.integer ?? -1) >= 10 }), ("n = 3 OR n = 17", { [3, 17].contains($0["n"]?.integer) }),
    ("NOT n = 3", { $0["n"] != nil && $0["n"]?.integer != 3 }), ("caption IS NULL", { $0["caption"] == nil }),
    (
      "caption LIKE '%row 1_'",
      {
        $0["caption"].map {
          $0.string?.hasSuffix("row 12") == true || $0.string?.hasSuffix("row 15") == true
            || $0.string?.hasSuffix("row 18") == true
        } ?? false
      }
    ),
    ("url CONTAINS '/1/' AND even = TRUE", { $0["shard"]?.integer == 1 && $0["even"] == .bool(true) }),
    ("wide > 1500", { ($0["n"]?.integer ?? -1) > 15 }),
    ("n IN (1, 2, 3) AND shard = 0", { (1...3).contains($0["n"]?.integer ?? 0) && $0["shard"]?.integer == 0 }),
    (
      "(n < 5 OR n > 15) AND NOT (even = FALSE)",
      { row in
        guard let n = row["n"]?.integer else { return false }
        return (n < 5 || n > 15) && row["even"] == .bool(true)
      }
    ),
  ]

  @Test func theAnswerIsTheBestOfTheRowsOfWhichItHolds() throws {
    let (lake, search) = try lake()
    let all = try ids(lake.succeed(search + ["-k", "40"]))
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "meta"]) }
      for (text, holds) in Self.conditions {
        let chosen = Set((0..<40).filter { holds(Self.row($0 / Self.count, $0 % Self.count)) })
        let found = try lake.succeed(search + ["-k", "5", "--where", text])
        #expect(!chosen.isEmpty && chosen.count < 40, "\(text)")
        #expect(
          try ids(found) == all.map { Array($0.filter(chosen.contains).prefix(5)) }, "\(text), packed: \(isPacked)")
        #expect(found.errorText.contains("has no pack") != isPacked, "\(found.errorText)")
      }
    }
    let some = lake.directory.path + "/some"
    try "0\n12\n15\n33\n39\n".write(toFile: some, atomically: true, encoding: .utf8)
    let both = search + ["-k", "5", "--where", "n >= 12"]
    #expect(try ids(lake.succeed(both + ["--ids", some])) == all.map { $0.filter { [12, 15, 39].contains($0) } })
    let left = (0..<40).filter { holds in
      Self.row(holds / Self.count, holds % Self.count)["n"].flatMap(\.integer).map { $0 >= 12 } == true
        && ![12, 15, 33, 39].contains(holds)
    }
    #expect(
      try ids(lake.succeed(both + ["--exclude-ids", some])) == all.map { Array($0.filter(left.contains).prefix(5)) })
    try lake.succeed(["sync", "--quiet"])
    let reranked = try ids(lake.succeed(search + ["-k", "3", "--where", "even = TRUE", "--rerank", "4"]))
    #expect(reranked.allSatisfy { $0.count == 3 && $0.allSatisfy { $0 % 2 == 0 } })
  }

  @Test func whatIsWrongIsOneLine() throws {
    let (lake, search) = try lake()
    for (condition, needle) in [
      ("n = ", "at character 5"), ("nn = 1", "caption, even, n, shard, url, wide"),
      ("n = 1 AND ghost IS NULL", "'ghost'"), ("", "a column is wanted"),
    ] {
      let result = try lake.run(search + ["--where", condition])
      #expect(result.ending == .exit(64) && result.errorLines.count == 1, "\(condition): \(result.errorText)")
      #expect(result.errorText.contains(needle), "\(condition): \(result.errorText)")
    }
    let bare = try LakeFixture.make(.built)
    let result = try bare.run(["search", "v@1", "--like", "0", "--where", "n = 1"])
    #expect(result.ending == .exit(64) && result.errorText.contains("has no companion"), "\(result.errorText)")
  }

  @Test func whatIsNotHereIsTold() throws {
    let (lake, search) = try lake(["m_0.jsonl": Self.lines(0), "m_1.jsonl": Self.lines(1, 19)])
    // Which is an error of packing.
    #expect(try lake.run(["pack", "meta", "--shards", "0"]).ending == .exit(20))
    let all = try ids(lake.succeed(search + ["-k", "40"]))
    // A misaligned shard says nothing: its rows are nulls, which no comparison finds.
    let found = try lake.succeed(search + ["-k", "40", "--where", "n >= 0"])
    #expect(found.errorText.contains("m_1.jsonl of meta has 19 rows"), "\(found.errorText)")
    #expect(try ids(found) == all.map { $0.filter { $0 < 20 && $0 % 9 != 4 } })
    let nulls = try lake.succeed(search + ["-k", "40", "--where", "n IS NULL"])
    #expect(try ids(nulls) == all.map { $0.filter { $0 >= 20 || $0 % 9 == 4 } })
    let mixed = try lake.succeed(search + ["-k", "40", "--where", "url > 5"])
    #expect(mixed.errorText.contains("'url' has in some rows a text that is no number"), "\(mixed.errorText)")
    #expect(mixed.errorText.contains("the condition holds of no row"), "\(mixed.errorText)")
    #expect(try ids(mixed).allSatisfy(\.isEmpty))
  }

  /// A column has two names, and may be asked for by both.
  @Test func aColumnOfTwoNamesIsItselfByEach() throws {
    let (lake, search) = try lake()
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "meta"]) }
      let found = try lake.succeed(search + ["-k", "40", "--where", "n = 3 AND meta.n = 3"])
      #expect(try ids(found).allSatisfy { $0.sorted() == [3, 23] }, "\(found.outputText)")
      let either = try lake.succeed(search + ["-k", "40", "--where", "meta.n = 3 OR n = 5"])
      #expect(try ids(either).allSatisfy { $0.sorted() == [3, 5, 23, 25] }, "\(either.outputText)")
    }
  }

  /// Rows whose lists are not visited are not found, which is said.
  @Test func rowsOfOtherListsAreSaidToBeThere() throws {
    let (lake, search) = try lake()
    try lake.succeed(["pack", "meta"])
    let narrow = search.filter { $0 != "--nprobe" && $0 != "3" } + ["--nprobe", "1", "-k", "40", "--where", "n >= 0"]
    let few = try lake.succeed(narrow)
    #expect(try ids(few).contains { $0.count < 36 } && few.errorText.contains("raise --nprobe"), "\(few.errorText)")
    #expect(few.errorText.contains("holds of 36 rows"), "\(few.errorText)")
    #expect(try lake.succeed(narrow + ["--quiet"]).errorText.isEmpty)
  }
}
