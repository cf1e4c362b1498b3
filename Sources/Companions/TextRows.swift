// Rows of text files: JSON lines, RFC 4180, plain lines.

internal import Base

/// Lines as rows of one column.
final class PlainRows: RowReader {
  /// What the one column is called.
  static let column = "text"

  let columns = [PlainRows.column]
  let leftOut: [LeftOutColumn] = []
  private var lines: LineFeed
  private var row = 0

  init(_ lines: LineFeed) { self.lines = lines }

  func next(_ record: inout RowRecord) throws -> Bool {
    record.clear()
    guard let line = try lines.line() else { return false }
    let text = line.last == 0x0D ? line.dropLast() : line
    guard String(validating: text, as: UTF8.self) != nil else { throw notUTF8(lines.name, row) }
    record.add(0, text: text)
    row += 1
    return true
  }
}

/// What is said of a row that is no UTF-8.
private func notUTF8(_ name: String, _ row: Int) -> TarnError {
  TarnError.companion(name, "row \(row) is not UTF-8", hint: "convert it, e.g. with `iconv -t UTF-8`")
}

/// JSON objects, one a line; an empty line is a row of nulls.
final class JSONRows: RowReader {
  private(set) var columns: [String] = []
  let leftOut: [LeftOutColumn] = []
  private var places: [String: Int] = [:]
  private let only: Set<String>?
  private var lines: LineFeed
  private var row = 0

  init(_ lines: LineFeed, only: Set<String>?) { (self.lines, self.only) = (lines, only) }

  func next(_ record: inout RowRecord) throws -> Bool {
    record.clear()
    guard let line = try lines.line() else { return false }
    defer { row += 1 }
    guard line.contains(where: { ![0x20, 0x09, 0x0D].contains($0) }) else { return true }
    guard String(validating: line, as: UTF8.self) != nil else { throw notUTF8(lines.name, row) }
    let value: JSONValue
    do { value = try JSONValue(reading: Array(line), wholeNumbers: .kept) } catch {
      throw TarnError.companion(lines.name, "row \(row) is no JSON: \(error.message), at its byte \(error.offset)")
    }
    guard case .object(let members) = value else {
      throw TarnError.companion(lines.name, "row \(row) is no JSON object")
    }
    var found: [(Int, JSONValue)] = []
    // Names in their order, so that new columns come in the same order everywhere.
    for (name, value) in members.sorted(by: { $0.key < $1.key }) where only?.contains(name) ?? true {
      found.append((try place(of: name), value))
    }
    for (place, value) in found.sorted(by: { $0.0 < $1.0 }) { record.add(place, value) }
    return true
  }

  private func place(of name: String) throws -> Int {
    if let place = places[name] { return place }
    guard columns.count < RowRecord.mostColumns else {
      throw TarnError.companion(
        lines.name, "its rows have more than \(RowRecord.mostColumns) different members, the last in row \(row)",
        hint: "name those that are wanted with --columns")
    }
    places[name] = columns.count
    columns.append(name)
    return columns.count - 1
  }
}

/// Records of RFC 4180 behind a line of names.
///
/// All values are text; a field that is empty and not quoted is null.
final class CSVRows: RowReader {
  let columns: [String]
  let leftOut: [LeftOutColumn] = []
  private let isWanted: [Bool]
  private var records: CSVRecords
  private var row = 0

  init(_ lines: LineFeed, only: Set<String>?) throws {
    records = CSVRecords(lines)
    guard let header = try records.next() else {
      throw TarnError.companion(lines.name, "it has no line of column names")
    }
    let name = lines.name
    var names: [String] = []
    for field in try Self.fields(of: header, named: name, "its line of column names") {
      guard let text = field.text, !text.isEmpty, !names.contains(text) else {
        throw TarnError.companion(
          name, "a column has no name, or that of another: '\((field.text ?? "").printable)'",
          hint: "its first line names the columns")
      }
      names.append(text)
      guard names.count <= RowRecord.mostColumns else {
        throw TarnError.companion(name, "it has more than \(RowRecord.mostColumns) columns")
      }
    }
    columns = names
    isWanted = names.map { only?.contains($0) ?? true }
  }

  func next(_ record: inout RowRecord) throws -> Bool {
    record.clear()
    guard let bytes = try records.next() else { return false }
    let fields = try Self.fields(of: bytes, named: records.name, "row \(row)")
    guard fields.count == columns.count else {
      throw TarnError.companion(
        records.name, "row \(row) has \(fields.count.counted("field")) where \(columns.count) are named",
        hint: "quote fields that hold commas, quotes or line feeds")
    }
    for (place, field) in fields.enumerated() where isWanted[place] {
      if let text = field.text { record.add(place, text: text.utf8) }
    }
    row += 1
    return true
  }

  private struct Field {
    /// nil where it is empty and not quoted.
    var text: String?
  }

  private static func fields(of bytes: [UInt8], named name: String, _ place: String) throws -> [Field] {
    var fields: [Field] = []
    var next = 0
    while true {
      var text: [UInt8] = []
      let isQuoted = next < bytes.count && bytes[next] == 0x22
      if isQuoted {
        next += 1
        while next < bytes.count {
          if bytes[next] == 0x22 {
            guard next + 1 < bytes.count, bytes[next + 1] == 0x22 else { break }
            next += 1
          }
          text.append(bytes[next])
          next += 1
        }
        next += 1
      } else {
        while next < bytes.count, bytes[next] != 0x2C, bytes[next] != 0x22 {
          text.append(bytes[next])
          next += 1
        }
      }
      guard next >= bytes.count || bytes[next] == 0x2C else {
        throw TarnError.companion(
          name, "\(place) has a quote within a field, or something behind one",
          hint: "write it as RFC 4180 has it: quotes around the field, those inside doubled")
      }
      guard let string = String(validating: text, as: UTF8.self) else {
        throw TarnError.companion(name, "\(place) is not UTF-8", hint: "convert it, e.g. with `iconv -t UTF-8`")
      }
      fields.append(Field(text: text.isEmpty && !isQuoted ? nil : string))
      guard next < bytes.count else { return fields }
      next += 1
    }
  }
}

/// The records of a CSV file as they are written: a line feed within quotes is the field's.
struct CSVRecords {
  private var lines: LineFeed

  var name: String { lines.name }

  init(_ lines: LineFeed) { self.lines = lines }

  /// The next record without what ends it; nil behind the last.
  mutating func next() throws -> [UInt8]? {
    guard let first = try lines.line() else { return nil }
    var record = Array(first)
    var quotes = record.count { $0 == 0x22 }
    while quotes % 2 == 1 {
      guard let line = try lines.line() else {
        throw TarnError.companion(name, "it ends within quotes", hint: "fetch it again, or close the quotes")
      }
      quotes += line.count { $0 == 0x22 }
      record.append(0x0A)
      record += line
      guard record.count <= LineFeed.mostByteCount else { throw lines.tooLong }
    }
    if record.last == 0x0D { record.removeLast() }
    return record
  }
}
