// A row as packs hold it: the columns that have a value, in their order, each with a
// tag (docs/PACK.md).

internal import Base

/// A row being written.
struct RowRecord {
  /// The row's bytes.
  private(set) var bytes: [UInt8] = []

  /// The most columns that a companion has.
  static let mostColumns = 4096
  /// The most bytes of a row.
  static let mostByteCount = 32 << 20

  /// What a value is; its bytes follow.
  enum Tag: UInt8 {
    case no = 1
    case yes, integer, number, text, json
  }

  mutating func clear() { bytes.removeAll(keepingCapacity: true) }

  /// Adds the value of a column behind those of the columns before it; null is nothing.
  mutating func add(_ column: Int, _ value: JSONValue) {
    switch value {
    case .null: break
    case .bool(let flag): begin(column, flag ? .yes : .no)
    case .integer(let number):
      begin(column, .integer)
      append(UInt64(bitPattern: number))
    case .number(let number):
      begin(column, .number)
      append(number.bitPattern)
    case .string(let text): add(column, text: text.utf8, as: .text)
    case .array, .object: add(column, text: value.text.utf8, as: .json)
    }
  }

  /// Adds a text whose bytes are known to be UTF-8.
  mutating func add(_ column: Int, text: some Collection<UInt8>, as tag: Tag = .text) {
    begin(column, tag)
    append(UInt32(text.count))
    bytes.append(contentsOf: text)
  }

  private mutating func begin(_ column: Int, _ tag: Tag) {
    append(UInt16(column))
    bytes.append(tag.rawValue)
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  // MARK: Reading

  /// The values of some columns of a row, as JSON.
  ///
  /// - Parameters:
  ///   - bytes: What the row lies in, of which nothing is believed.
  ///   - range: Where.
  ///   - places: For each column of the file, its place in the answer; nil for one that
  ///     is not wanted.
  ///   - count: Values of the answer.
  /// - Returns: The values, null where the row has none; nil for bytes that are no row.
  static func values(of bytes: [UInt8], _ range: Range<Int>, places: [Int?], count: Int) -> [JSONValue]? {
    var found = [RowValue](repeating: .null, count: count)
    guard read(bytes, range, places: places, into: &found) else { return nil }
    var values: [JSONValue] = []
    for value in found {
      guard let value = value.json else { return nil }
      values.append(value)
    }
    return values
  }

  /// The values of some columns of a row where they lie, for what looks at many rows.
  ///
  /// - Parameters:
  ///   - bytes: What the row lies in, of which nothing is believed but that texts are UTF-8.
  ///   - range: Where.
  ///   - places: As for ``values(of:_:places:count:)``.
  ///   - values: Gets those that the row has; the others stay.
  /// - Returns: Whether it is a row.
  static func read(_ bytes: [UInt8], _ range: Range<Int>, places: [Int?], into values: inout [RowValue]) -> Bool {
    var place = range.lowerBound
    var last = -1
    return bytes.withUnsafeBytes { buffer in
      while place < range.upperBound {
        guard place + 3 <= range.upperBound else { return false }
        let column = Int(UInt16(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt16.self)))
        guard let tag = Tag(rawValue: buffer[place + 2]), column > last, column < places.count else { return false }
        last = column
        place += 3
        let wanted = places[column]
        switch tag {
        case .no, .yes: if let wanted { values[wanted] = .bool(tag == .yes) }
        case .integer, .number:
          guard place + 8 <= range.upperBound else { return false }
          if let wanted {
            let bits = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            let number = Double(bitPattern: bits)
            // No row is written with a number that is none: JSON has no such.
            guard tag == .integer || number.isFinite else { return false }
            values[wanted] = tag == .integer ? .integer(Int64(bitPattern: bits)) : .number(number)
          }
          place += 8
        case .text, .json:
          guard place + 4 <= range.upperBound else { return false }
          let count = Int(UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
          place += 4
          guard count <= range.upperBound - place else { return false }
          if let wanted {
            let slice = bytes[place..<(place + count)]
            values[wanted] = tag == .text ? .text(slice) : .json(slice)
          }
          place += count
        }
      }
      return true
    }
  }
}

extension RowValue {
  /// The value as JSON; nil for text that is no UTF-8, and for JSON that is none.
  fileprivate var json: JSONValue? {
    switch self {
    case .null: .null
    case .bool(let flag): .bool(flag)
    case .integer(let number): .integer(number)
    case .number(let number): .number(number)
    case .text(let bytes): String(validating: bytes, as: UTF8.self).map { .string($0) }
    case .json(let bytes): String(validating: bytes, as: UTF8.self).flatMap { JSONValue(parsing: $0) }
    }
  }
}

/// The rows of a companion's file, one after the other.
///
/// Belongs to one thread.
protocol RowReader: AnyObject {
  /// The columns found so far, in the order in which they were; all of them at the end.
  var columns: [String] { get }
  /// Columns that are there and are not read, with why.
  var leftOut: [LeftOutColumn] { get }

  /// Reads the next row.
  ///
  /// - Parameter record: Becomes the row.
  /// - Returns: Whether there was one.
  /// - Throws: ``TarnError`` `.badFeatures` that names file and row; `.io`.
  func next(_ record: inout RowRecord) throws -> Bool
}

/// A column that is in a file and not read.
package struct LeftOutColumn: Sendable, Equatable {
  package let name: String
  /// Why, one line, as packs have it.
  package let cause: String

  private static let refusal = " is not read by tarn"
  /// Why one is left out whose name is empty.
  static let nameless = "without a name"

  /// Why, as it goes on after "it is".
  package var why: String {
    let what = cause.hasSuffix(Self.refusal) ? String(cause.dropLast(Self.refusal.utf8.count)) : cause
    return what.hasPrefix("its type ") ? "of the type \(what.dropFirst("its type ".count))" : what
  }

  /// Whether it is what a name means: itself, or the whole that it is a part of, as `size.width` of the struct `size`.
  package func isMeant(by name: String) -> Bool { self.name == name || self.name.hasPrefix(name + ".") }

  /// The name of the column that it is, or is a part of.
  package var wholeName: String {
    guard ["a struct", "a map", "a list of structs", "a list of lists"].contains(why) else { return name }
    return name.split(separator: ".", maxSplits: 1).first.map(String.init) ?? name
  }

  /// What to do about it.
  package var hint: String {
    cause.hasSuffix("columns of that name")
      ? "write the companion's files with a name of its own for each column"
      : "write the companion's files with it as a flat column of numbers or texts"
  }
}
