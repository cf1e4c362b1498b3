// Conditions on rows: what is read, where what is wrong is told, and what holds, against a plain reading of the rules.

import Base
import Companions
import TestSupport
import Testing

@Suite struct RowConditionTests {
  private func parse(_ text: String) throws -> RowCondition { try RowCondition(parsing: text) }

  private func holds(_ text: String, _ row: [String: RowValue]) throws -> Bool? {
    var predicate = RowPredicate(try parse(text))
    return predicate.holds(predicate.columns.map { row[$0] ?? .null })
  }

  private func text(_ text: String) -> RowValue { .text(Array(text.utf8)[...]) }

  @Test func whatIsNoNumberIsComparedWithNone() throws {
    for condition in ["a = 1", "a != 1", "a < 1.5", "a IN (1, 2.5)", "NOT a > 1"] {
      let found = try holds(condition, ["a": .number(.nan)])
      #expect(found == nil, "\(condition)")
      #expect(try holds(condition, ["a": .number(.infinity)]) != nil, "\(condition)")
    }
  }

  // MARK: The language

  @Test func whatIsWrittenInManyWaysIsOne() throws {
    for (one, other) in [
      ("a=1", " a\n= 1 "), ("a != 1", "a <> 1"), ("a = 1 and b = 2 or c = 3", "((a = 1) AND (b = 2)) OR (c = 3)"),
      ("not a = 1 AND b = 2", "(NOT (a = 1)) AND b = 2"), ("a NOT IN (1,2)", "NOT a IN (1, 2)"),
      ("a is not null", "NOT a IS NULL"), ("\"a\" = 'x'", "a = 'x'"), ("a >= -1.50e0", "a >= -1.5"),
      ("a = +1", "a = 1"),
      ("\"like\" LIKE 'a'", "\"like\" like 'a'"), ("meta.url = 'x'", "\"meta.url\" = 'x'"),
      ("a.b_1 = 1", "\"a.b_1\" = 1"),
    ] {
      #expect(try parse(one) == parse(other), "\(one)")
    }
    #expect(try parse("a = 1") != parse("a = 1.0"))
    // Letters that look alike are other bytes.
    #expect(try parse("a = 'é'") != parse("a = 'e\u{301}'"))
    #expect(try parse("b = 1 AND a IN ('x') AND NOT c.d CONTAINS 'y'").columns == ["a", "b", "c.d"])
  }

  @Test func theOneTextReadsAsTheSame() throws {
    var random = SplitMix64(seed: 11)
    for _ in 0..<500 {
      let condition = Self.condition(&random, depth: 4)
      #expect(try parse(condition.text) == condition, "\(condition.text)")
    }
  }

  @Test(arguments: [
    ("", 1, "a column is wanted"), ("a", 2, "IN, LIKE"), ("a =", 4, "a value is wanted"),
    ("a == 1", 3, "equality is written ="),
    ("a = 1 b = 2", 7, "AND, OR or the end"), ("(a = 1", 7, "a closing parenthesis"),
    ("a = 1)", 6, "AND, OR or the end"),
    ("a = \"x\"", 5, "texts are in single quotes"), ("'a' = 1", 1, "within double quotes or none"),
    ("a = 'x", 5, "not closed"),
    ("a = NULL", 5, "IS NULL"), ("a IN ()", 7, "a value"), ("a IN (1", 8, "a comma"), ("a IN 1", 6, "a list"),
    ("a LIKE 5", 8, "a text"), ("a LIKE 'x\\y'", 8, "backslash"), ("a LIKE 'x\\'", 8, "backslash"),
    ("a IS 5", 6, "NULL"),
    ("a < TRUE", 5, "= and != alone"), ("like = 1", 1, "written in double quotes"),
    ("a = 170141183460469231731687303715884105728", 5, "128 bits"),
    ("a = 1e999", 5, "finite"), ("a = 0x10", 5, "no number"), ("a = nan", 5, "a value"),
    ("a = 1; b = 2", 6, "of no condition"),
    ("ä = 1 AND ö", 12, "wanted"), ("a = 'x\u{0}'", 5, "NUL"), ("\"\" = 1", 1, "a name"),
    ("a NOT = 1", 7, "IN, LIKE or CONTAINS"),
    ("a ! 1", 3, "unequal"), ("a = -", 5, "no number"), ("a = 1 -- b", 7, "no number"), ("NOT", 4, "a column"),
    ("a = \u{1B}[2J", 5, "of no condition"),
  ])
  func whatIsWrongIsToldWithItsPlace(_ wrong: String, _ character: Int, _ needle: String) throws {
    let error = try #require(failure { _ = try RowCondition(parsing: wrong) })
    #expect(error.code == .usage && error.message.contains("at character \(character)"), "\(error)")
    #expect(
      error.message.contains(needle) && !error.description.contains("\u{1B}") && !error.description.contains("\n"),
      "\(error)")
  }

  /// Names that are no words are taken for numbers.
  @Test(arguments: ["aesthetic-score", "2dhash", "clip-14", "meta.aesthetic-score", "a-b-c"])
  func aNameThatIsNoWordIsToldWithItsQuotes(name: String) throws {
    for condition in ["\(name) > 5", "n = 1 AND NOT (\(name) > 5)"] {
      let error = try #require(failure { _ = try RowCondition(parsing: condition) })
      #expect(error.message.contains("in double quotes: \"\(name)\""), "\(error)")
    }
    #expect(try parse("\"\(name)\" > 5").columns == [name])
    for other in ["a = 1e999", "a = -", "a = 1 -- b", "n"] {
      let error = try #require(failure { _ = try RowCondition(parsing: other) })
      #expect(!error.message.contains("double quotes"), "\(error)")
    }
  }

  @Test func lengthDepthAndTermsAreBounded() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "(", count: depth) + "a=1" + String(repeating: ")", count: depth)
    }
    func nots(_ depth: Int) -> String { String(repeating: "NOT ", count: depth) + "a=1" }
    func list(_ count: Int) -> String { "a IN (" + (0..<count).map(String.init).joined(separator: ",") + ")" }
    func tests(_ count: Int) -> String { Array(repeating: "a=1", count: count).joined(separator: " OR ") }
    for good in [
      nested(RowCondition.mostDepth), nots(RowCondition.mostDepth), list(RowCondition.mostTerms),
      tests(RowCondition.mostTerms),
    ] { _ = try parse(good) }
    for bad in [
      nested(RowCondition.mostDepth + 1), nots(RowCondition.mostDepth + 1), nested(4000),
      list(RowCondition.mostTerms + 1),
      tests(RowCondition.mostTerms + 1), "a = '" + String(repeating: "x", count: RowCondition.mostByteCount) + "'",
    ] {
      #expect(failure { _ = try RowCondition(parsing: bad) }?.code == .usage)
    }
  }

  // MARK: What holds

  @Test func typesAndNullsAreAsDocumented() throws {
    for (condition, value, expected) in [
      // Numbers are compared as numbers, whatever they are stored as, and none is rounded.
      ("a = 1", .integer(1), true), ("a = 1.0", .integer(1), true), ("a < 1.5", .integer(1), true),
      ("a > 9007199254740992.0", .integer(9_007_199_254_740_993), true),
      ("a = 9007199254740993", .number(9_007_199_254_740_992), false), ("a < 1e19", .integer(.max), true),
      ("a > -1e19", .integer(.min), true), ("a <= -0.5", .integer(0), false), ("a < -0.5", .integer(-1), true),
      // Of 64 bits without a sign, too, which are texts where they lie.
      ("a >= 0", text("18446744073709551615"), true), ("a < 9223372036854775808", .integer(.max), true),
      ("a = 9223372036854775809", text("9223372036854775809"), true),
      ("a = 9223372036854775809", text("9223372036854775808"), false),
      ("a > 9223372036854775807", text("9223372036854775808"), true),
      ("a IN (5, 18446744073709551615)", text("18446744073709551615"), true),
      ("a < 9223372036854775808.5", text("9223372036854775809"), false),
      ("a < -9223372036854775808", text("-9223372036854775809"), true),
      ("a < 1e300", text("18446744073709551615"), true),
      ("a > -1e300", text("-170141183460469231731687303715884105728"), true),
      // A text is the number that it writes, and nothing else.
      ("a >= 512", text("1024"), true), ("a = 0.5", text("5e-1"), true), ("a = 1", text("one"), nil),
      ("a = 1", text(""), nil),
      ("a = 1", text(" 1"), nil), ("a = 1", text("0x1"), nil), ("a = 1", text("nan"), nil),
      // Texts by their bytes; numbers are no texts.
      ("a = 'x'", text("x"), true), ("a < 'b'", text("Z"), true), ("a < 'a'", text("Z"), true),
      ("a > 'z'", text("ä"), true),
      ("a < 'ab'", text("a"), true), ("a = '1'", .integer(1), nil), ("a = TRUE", .bool(true), true),
      ("a != TRUE", .bool(false), true),
      ("a = TRUE", text("true"), nil), ("a = 1", .bool(true), nil), ("a = 'x'", .json(Array("[]".utf8)[...]), nil),
      ("a IS NULL", .json(Array("[]".utf8)[...]), false), ("a IS NULL", .null, true), ("a IS NOT NULL", .null, false),
      ("a = 1", .null, nil), ("a != 1", .null, nil), ("NOT a = 1", .null, nil), ("a LIKE '%'", .null, nil),
      ("a IN (1)", .null, nil),
      ("a = 1 OR a IS NULL", .null, true), ("a = 1 AND a IS NULL", .null, nil),
      ("a = 1 AND a IS NOT NULL", .null, false),
      ("a IN (1, 'x')", text("x"), true), ("a IN (1, 'x')", text("1"), true), ("a IN (1, 'x')", text("y"), false),
      ("a IN (1, 2.5)", .number(2.5), true), ("a NOT IN (1, 2)", .integer(3), true), ("a IN (TRUE)", .integer(1), nil),
      ("a CONTAINS 'b'", text("abc"), true), ("a CONTAINS ''", text(""), true), ("a CONTAINS 'B'", text("abc"), false),
      ("a CONTAINS 'x'", .integer(1), nil), ("a LIKE 'a_c'", text("aäc"), true), ("a LIKE '_'", text("ä"), true),
      ("a LIKE '__'", text("ä"), false), ("a LIKE 'a\\%'", text("a%"), true), ("a LIKE 'a\\%'", text("ab"), false),
      ("a LIKE '%a%a%'", text("a"), false), ("a LIKE '%ab'", text("aab"), true), ("a LIKE ''", text(""), true),
    ] as [(String, RowValue, Bool?)] {
      let found = try holds(condition, ["a": value])
      #expect(found == expected, "\(condition) of \(value)")
    }
    var predicate = RowPredicate(try parse("width > 5 AND url = 'x'"))
    #expect(predicate.columns == ["url", "width"] && predicate.mismatchTexts.isEmpty)
    _ = predicate.holds([text("x"), .null])
    #expect(predicate.mismatchTexts.isEmpty)
    _ = predicate.holds([text("x"), text("wide")])
    #expect(
      predicate.mismatchTexts.count == 1 && predicate.mismatchTexts[0].contains("'width'"), "\(predicate.mismatchTexts)"
    )
  }

  /// Times are compared as such, however SQL, Python or people write them.
  @Test func timesAreComparedHoweverTheyAreWritten() throws {
    let (noon, quarter) = (text("2024-02-29T12:00:00.000000"), text("12:30:00.250"))
    for (condition, value, expected) in [
      ("a < '2024-02-29 12:00:01'", noon, true), ("a < '2024-02-29 12:00:00'", noon, false),
      ("a <= '2024-02-29 12:00:00'", noon, true), ("a > '2024-02-29 11:59:59.999999999'", noon, true),
      ("a = '2024-02-29T12:00:00'", noon, true), ("a = '2024-02-29 12:00'", noon, true),
      ("a = '2024-02-29T12:00:00.0Z'", noon, true), ("a = '2024-02-29 12:00:00+00:00'", noon, true),
      ("a != '2024-02-29 12:00:00.000'", noon, false), ("a > '2024-02-29'", noon, true),
      ("a = '2024-02-29'", text("2024-02-29T00:00:00.000"), true),
      ("a > '2024-02-29'", text("2024-02-29T00:00:00.000000000"), false),
      ("a < '2024-02-29 12:00:00.5'", text("2024-02-29T12:00:00.250"), true),
      ("a IN ('x', '2024-02-29 12:00:00')", noon, true), ("a NOT IN ('2024-02-29 12:00:01')", noon, true),
      ("a = '12:30:00.25'", quarter, true), ("a >= '12:30'", quarter, true), ("a < '12:30:01Z'", quarter, true),
      // Others are texts, byte by byte.
      ("a = '2024-02-29 12:00:00'", text("2024-02-29 12:00:00"), true),
      ("a = '2024-02-29T12:00:00'", text("2024-02-29 12:00:00"), false),
      ("a = '2024-02-29T12:00:00'", text("2024-02-29T12:00:00"), true),
      ("a = '2024-02-29T12:00:00.0'", text("2024-02-29T12:00:00"), false),
      ("a > '12:00'", noon, true), ("a = '2024-02-29 12:00:00x'", noon, false),
      ("a < '2024-02-29 12:00:00.'", noon, false),
      ("a < '2024-03'", noon, true), ("a = '12:30'", text("12:30"), true), ("a < ''", quarter, false),
    ] as [(String, RowValue, Bool?)] {
      let found = try holds(condition, ["a": value])
      #expect(found == expected, "\(condition) of \(value)")
    }
  }

  /// Random conditions of random rows, against the rules read word by word.
  @Test func itHoldsWhereTheRulesSaySo() throws {
    var random = SplitMix64(seed: 3)
    var counts: [Bool?: Int] = [:]
    for _ in 0..<3000 {
      let condition = Self.condition(&random, depth: 3)
      let row = Dictionary(uniqueKeysWithValues: Self.names.map { ($0, Self.value(&random)) })
      var predicate = RowPredicate(condition)
      let found = predicate.holds(predicate.columns.map { row[$0] ?? .null })
      #expect(found == Self.plain(condition, row), "\(condition.text) of \(row)")
      counts[found, default: 0] += 1
    }
    #expect(counts.count == 3 && counts.values.allSatisfy { $0 > 200 }, "\(counts)")
  }

  @Test func patternsAreThoseOfAPlainMatcher() throws {
    var random = SplitMix64(seed: 5)
    let letters = ["a", "b", "ä", "%", "_"]
    var count = 0
    for _ in 0..<5000 {
      let pattern = (0..<Int(random.next() % 6)).map { _ in letters[Int(random.next() % 5)] }.joined()
      let text = (0..<Int(random.next() % 7)).map { _ in letters[Int(random.next() % 3)] }.joined()
      let found = try #require(LikePattern(Array(pattern.utf8))).matches(Array(text.utf8)[...])
      #expect(
        found == Self.matches(Array(pattern.unicodeScalars)[...], Array(text.unicodeScalars)[...]),
        "\(text) LIKE \(pattern)")
      if found { count += 1 }
    }
    #expect(count > 300)
  }

  /// Parts of many signs are looked for in another way than short ones, to the same end.
  @Test func longPatternsAreThoseOfAPlainMatcher() throws {
    var random = SplitMix64(seed: 6)
    let letters = ["a", "b", "ä", "€"]
    var counts = [false: 0, true: 0]
    for round in 0..<600 {
      let part = (0..<(20 + Int(random.next() % 120))).map { _ in
        random.next() % 4 == 0 ? Self.pick(letters, &random) : "_"
      }
      func some(_ most: UInt64) -> String {
        (0..<Int(random.next() % most)).map { _ in Self.pick(letters, &random) }.joined()
      }
      // One that the part is in, and one that it may be in.
      let within = part.map { $0 == "_" ? Self.pick(letters, &random) : $0 }.joined()
      let text = round.isMultiple(of: 2) ? some(40) + within + some(40) : some(200)
      let (start, end) = (Self.pick(["", "_", "a"], &random), Self.pick(["", "b_", "_"], &random))
      let pattern = "\(start)%\(part.joined())%\(end)"
      let found = try #require(LikePattern(Array(pattern.utf8))).matches(Array(text.utf8)[...])
      #expect(
        found == Self.matches(Array(pattern.unicodeScalars)[...], Array(text.unicodeScalars)[...]),
        "\(text) LIKE \(pattern)")
      counts[found, default: 0] += 1
    }
    #expect(counts.values.allSatisfy { $0 > 50 }, "\(counts)")
    // What took seconds a row: each place of the text was tried with all of the pattern.
    let long = try #require(LikePattern(Array(("%" + String(repeating: "a_", count: 4000) + "b%").utf8)))
    #expect(!long.matches([UInt8](repeating: UInt8(ascii: "a"), count: 20_000)[...]))
  }

  // MARK: The plain reading

  private static let names = ["a", "b", "c"]
  private static let texts = ["", "a", "ab", "ba", "1", "2.5", "ä", "'"]

  private static func pick<Value>(_ values: [Value], _ random: inout SplitMix64) -> Value {
    values[Int(random.next() % UInt64(values.count))]
  }

  private static func literal(_ random: inout SplitMix64) -> RowCondition.Literal {
    switch random.next() % 4 {
    case 0: .integer(Int128(random.next() % 4))
    case 1: .number(Double(random.next() % 8) / 2)
    case 2: .bool(random.next() % 2 == 0)
    default: .text(Array(pick(texts, &random).utf8))
    }
  }

  private static func value(_ random: inout SplitMix64) -> RowValue {
    switch random.next() % 7 {
    case 0: .null
    case 1: .integer(Int64(random.next() % 4))
    case 2: .number(Double(random.next() % 8) / 2)
    case 3: .bool(random.next() % 2 == 0)
    case 4: .json(Array("[1]".utf8)[...])
    default: .text(Array(pick(texts, &random).utf8)[...])
    }
  }

  private static func condition(_ random: inout SplitMix64, depth: Int) -> RowCondition {
    let name = pick(names, &random)
    switch random.next() % (depth > 0 ? 10 : 5) {
    case 0:
      let literal = literal(&random)
      var all: [RowCondition.Comparison] = [.equal, .notEqual]
      if case .bool = literal {} else { all += [.less, .lessOrEqual, .greater, .greaterOrEqual] }
      return .compare(name, pick(all, &random), literal)
    case 1: return .isIn(name, (0...Int(random.next() % 3)).map { _ in literal(&random) })
    case 2:
      let pattern = LikePattern(Array((pick(texts, &random) + pick(["%", "_", ""], &random)).utf8))
      return .like(name, pattern ?? { preconditionFailure("a pattern") }())
    case 3: return .contains(name, Array(pick(texts, &random).utf8))
    case 4: return .isNull(name)
    case 5: return .not(condition(&random, depth: depth - 1))
    case 6, 7: return .all((0...1 + Int(random.next() % 2)).map { _ in condition(&random, depth: depth - 1) })
    default: return .any((0...1 + Int(random.next() % 2)).map { _ in condition(&random, depth: depth - 1) })
    }
  }

  /// A number as the rules have it; small ones alone, so that binary64 is exact.
  private static func number(_ value: RowValue) -> Double? {
    switch value {
    case .integer(let number): Double(number)
    case .number(let number): number
    case .text(let bytes): Double(String(decoding: bytes, as: UTF8.self))
    default: nil
    }
  }

  private static func order(_ value: RowValue, _ literal: RowCondition.Literal) -> Int? {
    switch literal {
    case .bool(let flag):
      guard case .bool(let own) = value else { return nil }
      return own == flag ? 0 : 1
    case .integer(let other): return number(value).map { $0 < Double(other) ? -1 : $0 > Double(other) ? 1 : 0 }
    case .number(let other): return number(value).map { $0 < other ? -1 : $0 > other ? 1 : 0 }
    case .text(let other):
      guard case .text(let own) = value else { return nil }
      return own.elementsEqual(other) ? 0 : own.lexicographicallyPrecedes(other) ? -1 : 1
    }
  }

  private static func plain(_ condition: RowCondition, _ row: [String: RowValue]) -> Bool? {
    func text(_ name: String) -> String? {
      guard case .text(let bytes)? = row[name] else { return nil }
      return String(decoding: bytes, as: UTF8.self)
    }
    switch condition {
    case .compare(let name, let comparison, let literal):
      guard let order = order(row[name] ?? .null, literal) else { return nil }
      return switch comparison {
      case .equal: order == 0
      case .notEqual: order != 0
      case .less: order == -1
      case .lessOrEqual: order != 1
      case .greater: order == 1
      case .greaterOrEqual: order != -1
      }
    case .isIn(let name, let literals):
      // As a chain of ORs, but that what cannot be compared with one of several counts as no match.
      let found = literals.compactMap { order(row[name] ?? .null, $0) }
      return found.isEmpty ? nil : found.contains(0)
    case .like(let name, let pattern):
      return text(name).map {
        let all = String(decoding: Self.bytes(pattern), as: UTF8.self)
        return matches(Array(all.unicodeScalars)[...], Array($0.unicodeScalars)[...])
      }
    case .contains(let name, let part):
      return text(name).map { part.isEmpty || $0.contains(String(decoding: part, as: UTF8.self)) }
    case .isNull(let name):
      if case .null = row[name] ?? .null { return true }
      return false
    case .not(let inner): return plain(inner, row).map { !$0 }
    case .all(let parts):
      let all = parts.map { plain($0, row) }
      return all.contains(false) ? false : all.contains(nil) ? nil : true
    case .any(let parts):
      let all = parts.map { plain($0, row) }
      return all.contains(true) ? true : all.contains(nil) ? nil : false
    }
  }

  /// A pattern as it was written, out of the one text of its condition.
  private static func bytes(_ pattern: LikePattern) -> [UInt8] {
    let text = RowCondition.like("a", pattern).text.dropFirst("\"a\" LIKE '".count).dropLast()
    return Array(text.replacing("''", with: "'").utf8)
  }

  private static func matches(_ pattern: ArraySlice<Unicode.Scalar>, _ text: ArraySlice<Unicode.Scalar>) -> Bool {
    guard let first = pattern.first else { return text.isEmpty }
    if first == "%" { return (0...text.count).contains { matches(pattern.dropFirst(), text.dropFirst($0)) } }
    guard let own = text.first, first == "_" || first == own else { return false }
    return matches(pattern.dropFirst(), text.dropFirst())
  }
}
