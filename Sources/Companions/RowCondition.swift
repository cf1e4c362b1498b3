// A condition on the columns of a row, as `--where` has it: what it is, and its one text.
// Grammar, types and what null does: docs/COMPANIONS.md.

internal import Base

/// What must hold of a row.
///
/// Texts are bytes in UTF-8, so that two conditions are equal where their bytes are.
package indirect enum RowCondition: Sendable, Hashable {
  package enum Comparison: String, Sendable {
    case equal = "="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
  }

  package enum Literal: Sendable, Hashable {
    case bool(Bool)
    case integer(Int128)
    /// Finite.
    case number(Double)
    case text([UInt8])
  }

  case compare(String, Comparison, Literal)
  case isIn(String, [Literal])
  case like(String, LikePattern)
  case contains(String, [UInt8])
  case isNull(String)
  case not(RowCondition)
  case all([RowCondition])
  case any([RowCondition])

  /// The columns that it asks for, by name.
  package var columns: [String] {
    var found: Set<String> = []
    collect(&found)
    return found.sorted()
  }

  private func collect(_ found: inout Set<String>) {
    switch self {
    case .compare(let name, _, _), .isIn(let name, _), .like(let name, _), .contains(let name, _), .isNull(let name):
      found.insert(name)
    case .not(let inner): inner.collect(&found)
    case .all(let parts), .any(let parts): for part in parts { part.collect(&found) }
    }
  }

  /// One text of it, which reads as the same condition.
  package var text: String {
    switch self {
    case .compare(let name, let comparison, let literal):
      "\(Self.quoted(name)) \(comparison.rawValue) \(literal.text)"
    case .isIn(let name, let literals): "\(Self.quoted(name)) IN (\(literals.map(\.text).joined(separator: ", ")))"
    case .like(let name, let pattern): "\(Self.quoted(name)) LIKE \(Literal.text(pattern.text).text)"
    case .contains(let name, let part): "\(Self.quoted(name)) CONTAINS \(Literal.text(part).text)"
    case .isNull(let name): "\(Self.quoted(name)) IS NULL"
    case .not(let inner): "NOT (\(inner.text))"
    case .all(let parts): parts.map { "(\($0.text))" }.joined(separator: " AND ")
    case .any(let parts): parts.map { "(\($0.text))" }.joined(separator: " OR ")
    }
  }

  private static func quoted(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }
}

extension RowCondition.Literal {
  fileprivate var text: String {
    switch self {
    case .bool(let flag): flag ? "TRUE" : "FALSE"
    case .integer(let number): String(number)
    // With a point or an exponent, so that it is read as what it is.
    case .number(let number): "\(number)"
    case .text(let bytes):
      "'" + String(decoding: bytes.flatMap { $0 == UInt8(ascii: "'") ? [$0, $0] : [$0] }, as: UTF8.self) + "'"
    }
  }

  /// What a sentence calls one of its kind.
  package var kind: String {
    switch self {
    case .bool: "TRUE or FALSE"
    case .integer, .number: "a number"
    case .text: "a text"
    }
  }
}

/// A pattern of LIKE: `%` is any text, `_` any one character, and a backslash takes the meaning of either away.
package struct LikePattern: Sendable, Hashable {
  package enum Atom: Sendable, Hashable {
    case byte(UInt8)
    /// One scalar of Unicode.
    case scalar
  }

  /// As it was written.
  let text: [UInt8]
  /// What stands between `%`; the first begins where the text does, and the last ends there.
  let parts: [[Atom]]
  /// The bytes that each part begins with.
  private let heads: [[UInt8]]
  /// How long parts are looked for; nil for others.
  private let finders: [PatternPart?]

  /// Reads a pattern; nil where a backslash stands before something else.
  package init?(_ text: [UInt8]) {
    self.text = text
    var parts: [[Atom]] = [[]]
    var place = 0
    while place < text.count {
      switch text[place] {
      case UInt8(ascii: "%"): parts.append([])
      case UInt8(ascii: "_"): parts[parts.count - 1].append(.scalar)
      case UInt8(ascii: "\\"):
        place += 1
        guard place < text.count, "%_\\".utf8.contains(text[place]) else { return nil }
        parts[parts.count - 1].append(.byte(text[place]))
      case let byte: parts[parts.count - 1].append(.byte(byte))
      }
      place += 1
    }
    self.parts = parts
    heads = parts.map { part in
      part.prefix { $0 != .scalar }.compactMap { if case .byte(let byte) = $0 { byte } else { nil } }
    }
    finders = parts.map { PatternPart($0) }
  }

  /// Whether a text in UTF-8 is of the pattern: all of it, upper and lower case told apart.
  ///
  /// Each part between `%` is taken where it comes first, which finds a way wherever there is one.
  package func matches(_ text: ArraySlice<UInt8>) -> Bool {
    guard var place = Self.end(of: parts[0], in: text, at: text.startIndex) else { return false }
    guard parts.count > 1 else { return place == text.endIndex }
    for number in 1..<(parts.count - 1) {
      let found =
        if let finder = finders[number] {
          finder.firstEnd(in: text[place...])
        } else {
          Self.first(parts[number], heads[number], in: text, from: place)
        }
      guard let found else { return false }
      place = found
    }
    return Self.isEnd(parts[parts.count - 1], of: text, from: place)
  }

  /// Where a part that begins at a place ends; nil where it does not begin there.
  private static func end(of part: [Atom], in text: ArraySlice<UInt8>, at place: Int) -> Int? {
    var place = place
    for atom in part {
      guard place < text.endIndex else { return nil }
      switch atom {
      case .byte(let byte):
        guard text[place] == byte else { return nil }
        place += 1
      case .scalar:
        guard !isWithin(text[place]) else { return nil }
        repeat { place += 1 } while place < text.endIndex && isWithin(text[place])
      }
    }
    return place
  }

  private static func first(
    _ part: [Atom], _ head: [UInt8], in text: ArraySlice<UInt8>, from start: Int
  ) -> Int? {
    var place = start
    while place <= text.endIndex {
      // What the part begins with is looked for in time that does not depend on its length.
      guard let found = text[place...].firstPlace(of: head) else { return nil }
      if head.count == part.count { return found + head.count }
      if let end = end(of: part, in: text, at: found) { return end }
      place = found + 1
    }
    return nil
  }

  /// Whether a text ends with a part, which is read from its end.
  private static func isEnd(_ part: [Atom], of text: ArraySlice<UInt8>, from start: Int) -> Bool {
    var place = text.endIndex
    for atom in part.reversed() {
      guard place > start else { return false }
      place -= 1
      switch atom {
      case .byte(let byte):
        guard text[place] == byte else { return false }
      case .scalar:
        while place > start, isWithin(text[place]) { place -= 1 }
        guard !isWithin(text[place]) else { return false }
      }
    }
    return true
  }

  /// Whether a byte of UTF-8 goes on a scalar that began before it.
  static func isWithin(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}
