// Whether a condition holds of a row: in the three values of SQL, and with what the types of
// values do (docs/COMPANIONS.md).

internal import Base
internal import CUnpack
internal import Glibc

/// A value of a row, where it lies.
package enum RowValue: Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  /// UTF-8.
  case text(ArraySlice<UInt8>)
  /// An array or object, as JSON.
  case json(ArraySlice<UInt8>)

  /// The value as text in UTF-8: a text itself, anything else as JSON has it; nil for null.
  package var text: ArraySlice<UInt8>? {
    switch self {
    case .null: nil
    case .text(let bytes), .json(let bytes): bytes
    case .bool(let flag): JSONValue.bool(flag).text.utf8Slice
    case .integer(let number): JSONValue.integer(number).text.utf8Slice
    case .number(let number): JSONValue.number(number).text.utf8Slice
    }
  }

  /// Bytes of a text, an array or an object.
  package var byteCount: Int {
    switch self {
    case .text(let bytes), .json(let bytes): bytes.count
    default: 0
    }
  }

  fileprivate var kind: String {
    switch self {
    case .null: "nothing"
    case .bool: "TRUE or FALSE"
    case .number(let number) where number.isNaN: "what is no number"
    case .integer, .number: "a number"
    case .text: "a text"
    case .json: "an array or object"
    }
  }
}

extension String {
  fileprivate var utf8Slice: ArraySlice<UInt8> { Array(utf8)[...] }
}

/// A number, whole or not.
enum RowNumber {
  /// Keys and hashes have 64 bits without a sign, which are text where they lie.
  case integer(Int128)
  case number(Double)

  /// Reads a decimal number: a sign, digits, a point, an exponent; nil for anything else, and where it is too large.
  init?(_ text: ArraySlice<UInt8>) {
    guard (1...64).contains(text.count) else { return nil }
    var isWhole = true
    var hasDigit = false
    for (place, byte) in text.enumerated() {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): hasDigit = true
      case UInt8(ascii: "-"), UInt8(ascii: "+"): if place > 0 { isWhole = false }
      case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
        guard hasDigit || byte == UInt8(ascii: ".") else { return nil }
        isWhole = false
      default: return nil
      }
    }
    guard hasDigit else { return nil }
    let text = String(decoding: text, as: UTF8.self)
    if isWhole {
      guard let number = Int64(text).map({ Int128($0) }) ?? Int128(text) else { return nil }
      self = .integer(number)
    } else {
      guard let number = Double(text), number.isFinite else { return nil }
      self = .number(number)
    }
  }

  /// -1, 0 or 1 as the first is less, equal or greater, whatever each is: no integer is rounded.
  static func order(_ first: RowNumber, _ second: RowNumber) -> Int {
    switch (first, second) {
    case (.integer(let first), .integer(let second)): first < second ? -1 : first > second ? 1 : 0
    case (.number(let first), .number(let second)): first < second ? -1 : first > second ? 1 : 0
    case (.integer(let first), .number(let second)): order(first, second)
    case (.number(let first), .integer(let second)): -order(second, first)
    }
  }

  private static func order(_ first: Int128, _ second: Double) -> Int {
    if second >= 0x1p127 { return -1 }
    if second < -0x1p127 { return 1 }
    let whole = second.rounded(.down)
    let floor = Int128(whole)
    if first != floor { return first < floor ? -1 : 1 }
    return second > whole ? -1 : 0
  }
}

/// A condition made ready for many rows.
///
/// Belongs to one thread.
package struct RowPredicate {
  /// The columns whose values a row is given by.
  package let columns: [String]
  private let root: Node
  /// What was compared with values of another type, by column.
  private var mismatches: [Int: (found: String, wanted: String)] = [:]

  private indirect enum Node {
    case compare(Int, RowCondition.Comparison, RowCondition.Literal, time: [UInt8]?)
    case isIn(Int, Listed, kind: String)
    case like(Int, LikePattern)
    case contains(Int, [UInt8])
    case isNull(Int)
    case not(Node)
    case all([Node])
    case any([Node])
  }

  /// The values of a list.
  private struct Listed {
    var numbers: [RowNumber] = []
    var texts: Set<[UInt8]> = []
    /// Those of the texts that are times.
    var times: Set<[UInt8]> = []
    var bools: Set<Bool> = []
  }

  package init(_ condition: RowCondition) {
    columns = condition.columns
    let places = Dictionary(uniqueKeysWithValues: columns.enumerated().map { ($1, $0) })
    root = Self.node(condition, places)
  }

  private static func node(_ condition: RowCondition, _ places: [String: Int]) -> Node {
    func place(_ name: String) -> Int {
      guard let place = places[name] else { preconditionFailure("a column of the condition") }
      return place
    }
    switch condition {
    case .compare(let name, let comparison, let literal):
      var time: [UInt8]?
      if case .text(let bytes) = literal { time = TimeText.ofLiteral(bytes) }
      return .compare(place(name), comparison, literal, time: time)
    case .isIn(let name, let literals):
      var listed = Listed()
      for literal in literals {
        switch literal {
        case .bool(let flag): listed.bools.insert(flag)
        case .integer(let number): listed.numbers.append(.integer(number))
        case .number(let number): listed.numbers.append(.number(number))
        case .text(let bytes):
          listed.texts.insert(bytes)
          if let time = TimeText.ofLiteral(bytes) { listed.times.insert(time) }
        }
      }
      return .isIn(place(name), listed, kind: literals[0].kind)
    case .like(let name, let pattern): return .like(place(name), pattern)
    case .contains(let name, let part): return .contains(place(name), part)
    case .isNull(let name): return .isNull(place(name))
    case .not(let inner): return .not(node(inner, places))
    case .all(let parts): return .all(parts.map { node($0, places) })
    case .any(let parts): return .any(parts.map { node($0, places) })
    }
  }

  /// Columns that held values of another type than they were compared with, so that the comparison was unknown.
  ///
  /// - Returns: A line for each, by name.
  package var mismatchTexts: [String] {
    mismatches.sorted { $0.key < $1.key }.map { place, kinds in
      "column '\(columns[place].printable)' has in some rows \(kinds.found) where it is compared with \(kinds.wanted): "
        + "these comparisons are unknown, and such rows are not found by them"
    }
  }

  /// Asks whether the condition holds of a row.
  ///
  /// - Parameter values: One for each of ``columns``.
  /// - Returns: nil where that is unknown.
  package mutating func holds(_ values: [RowValue]) -> Bool? { holds(root, values) }

  private mutating func holds(_ node: Node, _ values: [RowValue]) -> Bool? {
    switch node {
    case .compare(let place, let comparison, let literal, let time):
      guard let order = order(values[place], literal, time, place) else { return nil }
      return switch comparison {
      case .equal: order == 0
      case .notEqual: order != 0
      case .less: order < 0
      case .lessOrEqual: order <= 0
      case .greater: order > 0
      case .greaterOrEqual: order >= 0
      }
    case .isIn(let place, let listed, let kind):
      return isIn(values[place], listed) ?? mismatch(values[place], kind, place)
    case .like(let place, let pattern):
      guard case .text(let text) = values[place] else { return mismatch(values[place], "a text", place) }
      return pattern.matches(text)
    case .contains(let place, let part):
      guard case .text(let text) = values[place] else { return mismatch(values[place], "a text", place) }
      return text.firstPlace(of: part) != nil
    case .isNull(let place):
      if case .null = values[place] { return true }
      return false
    case .not(let inner): return holds(inner, values).map { !$0 }
    case .all(let parts):
      var result: Bool? = true
      for part in parts {
        switch holds(part, values) {
        case false?: return false
        case nil: result = nil
        case true?: continue
        }
      }
      return result
    case .any(let parts):
      var result: Bool? = false
      for part in parts {
        switch holds(part, values) {
        case true?: return true
        case nil: result = nil
        case false?: continue
        }
      }
      return result
    }
  }

  /// How a value stands to a literal, which may be a time; nil where that is unknown.
  private mutating func order(
    _ value: RowValue, _ literal: RowCondition.Literal, _ time: [UInt8]?, _ place: Int
  ) -> Int? {
    switch (value, literal) {
    case (.bool(let first), .bool(let second)): return first == second ? 0 : 1
    case (.text(let first), .text(let second)):
      if let time, let own = TimeText.ofValue(first), TimeText.areAlike(own, time) { return Self.order(own, time) }
      return Self.order(first, second)
    case (_, .integer(let second)):
      if let first = Self.number(value) { return RowNumber.order(first, .integer(second)) }
    case (_, .number(let second)):
      if let first = Self.number(value) { return RowNumber.order(first, .number(second)) }
    default: break
    }
    _ = mismatch(value, literal.kind, place)
    return nil
  }

  /// Whether a value is in a list; nil where it can be compared with none of it.
  private func isIn(_ value: RowValue, _ listed: Listed) -> Bool? {
    switch value {
    case .null, .json: return nil
    case .bool(let flag): return listed.bools.isEmpty ? nil : listed.bools.contains(flag)
    case .text(let text) where !listed.texts.isEmpty && listed.texts.contains(Array(text)): return true
    default:
      if !listed.times.isEmpty, case .text(let text) = value, let time = TimeText.ofValue(text),
        listed.times.contains(Array(time))
      {
        return true
      }
      if !listed.numbers.isEmpty, let number = Self.number(value) {
        return listed.numbers.contains { RowNumber.order(number, $0) == 0 }
      }
      guard case .text = value, !listed.texts.isEmpty else { return nil }
      return false
    }
  }

  private mutating func mismatch(_ value: RowValue, _ wanted: String, _ place: Int) -> Bool? {
    if case .null = value { return nil }
    guard mismatches[place] == nil else { return nil }
    var found = value.kind
    if case .text = value, wanted == "a number" { found = "a text that is no number" }
    mismatches[place] = (found, wanted)
    return nil
  }

  /// A number, or what a text writes as one; NaN is none, and is neither less nor greater than one.
  private static func number(_ value: RowValue) -> RowNumber? {
    switch value {
    case .integer(let number): .integer(Int128(number))
    case .number(let number): number.isNaN ? nil : .number(number)
    case .text(let text): RowNumber(text)
    default: nil
    }
  }

  /// Byte by byte, which is the order of scalars.
  private static func order(_ first: ArraySlice<UInt8>, _ second: [UInt8]) -> Int {
    let order = first.withUnsafeBytes { first in
      second.withUnsafeBytes { second -> Int32 in
        guard let one = first.baseAddress, let other = second.baseAddress else { return 0 }
        return memcmp(one, other, min(first.count, second.count))
      }
    }
    if order != 0 { return order < 0 ? -1 : 1 }
    return first.count < second.count ? -1 : first.count > second.count ? 1 : 0
  }

}

extension ArraySlice<UInt8> {
  /// Where bytes begin in it first, in time in proportion to both; nil where they do not.
  func firstPlace(of part: [UInt8]) -> Int? {
    guard !part.isEmpty else { return startIndex }
    let distance = withUnsafeBytes { text in
      part.withUnsafeBytes { part in
        guard let from = text.baseAddress, let what = part.baseAddress else { return -1 }
        return cunpack_find(from, text.count, what, part.count)
      }
    }
    return distance < 0 ? nil : startIndex + distance
  }
}
