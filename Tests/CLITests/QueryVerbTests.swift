// `tarn sql`: ends when it should, in memory that does not grow with its rows, and leaves no value out.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct QueryVerbTests {
  /// One call of a function that takes hours.
  static let endless = "SELECT instr(printf('%.20000000c', 'a'), printf('%.10000000c', 'a') || 'b')"

  @Test func aFunctionThatTakesHoursEndsAtTheLimit() throws {
    let lake = try LakeFixture.make(.empty)
    for format in ["table", "json"] {
      let result = try lake.run(["sql", Self.endless, "--timeout", "0.2s", "--format", format])
      #expect(result.ending == .exit(64), "\(result.errorText)")
      #expect(result.errorLines.count == 1 && result.errorText.contains("raise --timeout"), "\(result.errorText)")
    }
  }

  /// The rows of a query that would be gigabytes, read for a moment only: rows that are
  /// kept until the end would not come.
  @Test(arguments: ["table", "csv", "json", "jsonl"]) func rowsComeAsTheyAreFound(format: String) throws {
    let lake = try LakeFixture.make(.empty)
    let sql =
      "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, printf('%.300c', 'x') AS x FROM n"
    let process = try lake.start(["sql", sql, "--format", format, "--timeout", "0"])
    let result = process.finish(readingAtMost: 20 << 20)
    #expect(result.ending == .signal(SIGPIPE), "\(result.errorText)")
    #expect(result.output.count >= 20 << 20)
  }

  @Test func aTableOfManyRowsIsWhole() throws {
    let lake = try LakeFixture.make(.empty)
    let sql =
      "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT i, iif(i = 1200, 'much wider', 'x') AS t FROM n"
    let lines = try lake.succeed(["sql", sql]).outputText.split(separator: "\n")
    #expect(lines.count == 1502)
    #expect(lines[0] == "   i  t" && lines[2] == "   1  x" && lines[1201] == "1200  much wider", "\(lines[0])")
    let json = try lake.succeed(["sql", sql, "--format", "json"])
    let rows = try JSONSerialization.jsonObject(with: Data(json.output)) as? [[String: Any]]
    #expect(rows?.count == 1500 && rows?.last?["i"] as? Int == 1500)
    #expect(try lake.succeed(["sql", "SELECT 1 AS a WHERE 0", "--json"]).outputText == "[]\n")
    #expect(try lake.succeed(["sql", "SELECT 1 AS a WHERE 0", "--format", "csv"]).outputText == "a\n")
    #expect(try lake.succeed(["sql", "SELECT 1 AS a WHERE 0"]).outputText == "a\n-\n")
  }

  @Test func aCommaWithAMarkOnItIsQuoted() throws {
    let lake = try LakeFixture.make(.empty)
    let sql = "SELECT 'a,' || char(769) || 'b' AS x, 'c\"' || char(769) AS y, 'd' || char(10) || char(769) AS z"
    let text = try lake.succeed(["sql", sql, "--format", "csv"]).outputText
    #expect(Array(text.utf8) == Array("x,y,z\n\"a,\u{301}b\",\"c\"\"\u{301}\",\"d\n\u{301}\"\n".utf8))
  }

  @Test func aRowThatIsTooLargeIsRefused() throws {
    let lake = try LakeFixture.make(.empty)
    let result = try lake.run(["sql", "SELECT zeroblob(60000000), zeroblob(60000000)"])
    #expect(
      result.ending == .exit(64) && result.errorText.contains("a row of the result has 120 MB"), "\(result.errorText)")
    let large = try lake.run(["sql", "SELECT zeroblob(200000000)"])
    #expect(large.ending == .exit(64) && large.errorLines.count == 1, "\(large.errorText)")
  }

  /// A join has columns of one name, and no value of them is left out.
  @Test func columnsOfOneNameAreAllTold() throws {
    let lake = try LakeFixture.make(.empty)
    let sql = "SELECT 1 AS a, 2 AS a, 3 AS \"a:1\", 4 AS \"caf\u{E9}\", 5 AS \"cafe\u{301}\", 6 AS a"
    for format in ["json", "jsonl"] {
      let text = try lake.succeed(["sql", sql, "--format", format]).outputText
      #expect(
        text.contains("{\"a\":1,\"a:1\":2,\"a:1:1\":3,\"caf\u{E9}\":4,\"cafe\u{301}:1\":5,\"a:2\":6}"), "\(text)")
    }
    #expect(try lake.succeed(["sql", "SELECT 1 AS a, 2 AS a", "--format", "csv"]).outputText == "a,a\n1,2\n")
  }
}
