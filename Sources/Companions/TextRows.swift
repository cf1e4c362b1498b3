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
    guard String(validating: text, as: UTF8.self) != nil else { throw notUTF8(lines.name, "row \(row)") }
    record.add(0, text: text)
    row += 1
    return true
  }
}

/// What is said of a place in a file that is no UTF-8.
private func notUTF8(_ name: String, _ place: String) -> TarnError {
  TarnError.companion(name, "\(place) is not UTF-8", hint: "convert it, e.g. with `iconv -t UTF-8`")
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
    guard String(validating: line, as: UTF8.self) != nil else { throw notUTF8(lines.name, "row \(row)") }
    let value: JSONValue
    do { value = try JSONValue(reading: Array(line), wholeNumbers: .kept, isOfPython: true) } catch {
      throw TarnError.companion(
        lines.name, "row \(row) is no JSON: \(error.message), at its byte \(error.offset)", hint: hint)
    }
    guard case .object(let members) = value else {
      throw TarnError.companion(lines.name, "row \(row) is no JSON object", hint: hint)
    }
    var found: [(Int, JSONValue)] = []
    // Names in their order, so that new columns come in the same order everywhere.
    for (name, value) in members.sorted(by: { $0.key < $1.key }) where only?.contains(name) ?? true {
      found.append((try place(of: name), value))
    }
    for (place, value) in found.sorted(by: { $0.0 < $1.0 }) { record.add(place, value) }
    return true
  }

  private var hint: String { "write its line \(row + 1) as one object of RFC 8259, each of its members once" }

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
/// All values are text; a field that is empty and not quoted is null. Columns without a name, and such of one name, are left
/// out.
final class CSVRows: RowReader {
  let columns: [String]
  let leftOut: [LeftOutColumn]
  /// For each field its column; nil for one that is left out or not wanted.
  private let places: [Int?]
  private var records: CSVRecords
  private var row = 0

  init(_ lines: LineFeed, only: Set<String>?) throws {
    records = CSVRecords(lines)
    guard let header = try records.next() else {
      throw TarnError.companion(lines.name, "it has no line of column names")
    }
    let names = try Self.fields(of: header, named: lines.name, "its line of column names").map { $0.text ?? "" }
    guard names.count <= RowRecord.mostColumns else {
      throw TarnError.companion(lines.name, "it has more than \(RowRecord.mostColumns) columns")
    }
    let counts = Dictionary(names.map { ($0, 1) }, uniquingKeysWith: +)
    var (columns, leftOut, places): ([String], [LeftOutColumn], [Int?]) = ([], [], [])
    for name in names {
      let count = counts[name] ?? 1
      guard name.isEmpty || count > 1 else {
        places.append(only?.contains(name) ?? true ? columns.count : nil)
        columns.append(name)
        continue
      }
      places.append(nil)
      let cause = name.isEmpty ? LeftOutColumn.nameless : "one of \(count) columns of that name"
      if !leftOut.contains(where: { $0.name == name }) { leftOut.append(LeftOutColumn(name: name, cause: cause)) }
    }
    (self.columns, self.leftOut, self.places) = (columns, leftOut, places)
  }

  func next(_ record: inout RowRecord) throws -> Bool {
    record.clear()
    guard let bytes = try records.next() else { return false }
    let fields = try Self.fields(of: bytes, named: records.name, "row \(row)")
    guard fields.count == places.count else {
      throw TarnError.companion(
        records.name, "row \(row) has \(fields.count.counted("field")) where \(places.count) are named",
        hint: "quote fields that hold commas, quotes or line feeds")
    }
    for (place, field) in zip(places, fields) {
      if let place, let text = field.text { record.add(place, text: text.utf8) }
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
      guard let string = String(validating: text, as: UTF8.self) else { throw notUTF8(name, place) }
      fields.append(Field(text: text.isEmpty && !isQuoted ? nil : string))
      guard next < bytes.count else { return fields }
      next += 1
    }
  }
}

/// The records of a CSV file as they are written: a line feed within quotes is the field's.
///
/// Lines without anything behind the last record of several fields are none.
struct CSVRecords {
  private var lines: LineFeed
  private var lineCount = 0
  /// Whether the first record has several fields; nil before it.
  private var hasSeveralFields: Bool?
  /// Records that were read ahead: those without anything, and what follows them.
  private var (blankCount, following): (Int, [UInt8]?) = (0, nil)

  var name: String { lines.name }

  init(_ lines: LineFeed) { self.lines = lines }

  /// The next record without what ends it; nil behind the last.
  mutating func next() throws -> [UInt8]? {
    if blankCount > 0 {
      blankCount -= 1
      return []
    }
    if let record = following {
      following = nil
      return record
    }
    guard let record = try read() else { return nil }
    guard record.isEmpty, hasSeveralFields == true else { return record }
    var count = 1
    while let record = try read() {
      guard !record.isEmpty else {
        count += 1
        continue
      }
      (blankCount, following) = (count - 1, record)
      return []
    }
    return nil
  }

  private mutating func read() throws -> [UInt8]? {
    guard let first = try lines.line() else { return nil }
    lineCount += 1
    var record = Array(first)
    var place = CSVPlace()
    // Most have no quotes.
    if hasSeveralFields == nil || record.contains(0x22) { place.pass(record[...], ofLine: lineCount) }
    while place.isWithinQuotes {
      let opening = "quotes that line \(place.openingLine) of it opens"
      guard let line = try lines.line() else {
        throw TarnError.companion(name, "it ends within \(opening)", hint: "fetch it again, or close the quotes")
      }
      lineCount += 1
      place.pass(line, ofLine: lineCount)
      record.append(0x0A)
      record += line
      guard record.count <= LineFeed.mostByteCount else {
        throw TarnError.companion(
          name, "a row has more than \(LineFeed.mostByteCount >> 20) MiB within \(opening)", hint: "close the quotes")
      }
    }
    hasSeveralFields = hasSeveralFields ?? place.hasComma
    if record.last == 0x0D { record.removeLast() }
    return record
  }
}

/// Where a reader stands in a record: only quotes that begin a field open what line feeds may be within.
private struct CSVPlace {
  private enum Kind { case start, plain, quoted, closed }

  private var kind = Kind.start
  /// The line of the quotes that were opened last, from 1.
  private(set) var openingLine = 0
  /// Whether a field ended before the last one.
  private(set) var hasComma = false

  var isWithinQuotes: Bool { kind == .quoted }

  mutating func pass(_ line: ArraySlice<UInt8>, ofLine number: Int) {
    for byte in line {
      switch (kind, byte) {
      case (.quoted, 0x22): kind = .closed
      case (.quoted, _): break
      // Doubled ones are one of the field's.
      case (.closed, 0x22): kind = .quoted
      case (_, 0x2C): (kind, hasComma) = (.start, true)
      case (.start, 0x22): (kind, openingLine) = (.quoted, number)
      default: kind = .plain
      }
    }
  }
}
