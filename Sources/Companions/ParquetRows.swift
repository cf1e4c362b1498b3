// Rows of a parquet file: its flat columns side by side.

internal import Base
internal import Parquet

/// The flat columns of a parquet file as rows.
final class ParquetRows: RowReader {
  let columns: [String]
  let leftOut: [LeftOutColumn]
  private let file: ParquetFile
  private let name: String
  private let cursors: [ColumnCursor]
  /// Their places among the columns.
  private let places: [Int]
  private var values: [[ParquetValue]]
  /// Bytes of memory that each column takes, and all of them.
  private var (heldByteCounts, heldByteCount): ([Int], Int)
  private var row = 0

  /// Rows of a column that are read at once.
  private static let batchCount = 256
  /// The most memory that all columns take together: a page of one may have 256 MiB, of a few bytes in the file.
  private static let mostHeldByteCount = 2 << 30

  init(_ file: ParquetFile, named name: String, only: Set<String>?) throws {
    (self.file, self.name) = (file, name)
    let (columns, leftOut) = Self.columns(of: file)
    (self.columns, self.leftOut) = (columns, leftOut)
    places = columns.indices.filter { only?.contains(columns[$0]) ?? true }
    cursors = try places.map { try ColumnCursor(file, column: columns[$0]) }
    values = places.map { _ in [] }
    (heldByteCounts, heldByteCount) = (places.map { _ in 0 }, 0)
  }

  /// The columns that are read, and those that are not.
  static func columns(of file: ParquetFile) -> (read: [String], leftOut: [LeftOutColumn]) {
    var (read, leftOut): ([String], [LeftOutColumn]) = ([], [])
    var seen: Set<String> = []
    for column in file.columns {
      let name = column.name
      guard seen.insert(name).inserted else { continue }
      if column.shape == .list {
        leftOut.append(LeftOutColumn(name: name, cause: "a list"))
      } else if read.count == RowRecord.mostColumns {
        leftOut.append(LeftOutColumn(name: name, cause: "beyond \(RowRecord.mostColumns) columns"))
      } else {
        do {
          _ = try file.column(named: name)
          read.append(name)
        } catch {
          let text = (error as? TarnError)?.message ?? "\(error)"
          leftOut.append(LeftOutColumn(name: name, cause: text.split(separator: ": ").last.map(String.init) ?? text))
        }
      }
    }
    return (read, leftOut)
  }

  func next(_ record: inout RowRecord) throws -> Bool {
    record.clear()
    guard row < file.rowCount else { return false }
    for (number, cursor) in cursors.enumerated() {
      // Each column gives as many rows as it can, so they are counted apart.
      if values[number].isEmpty {
        values[number] = try cursor.next(Self.batchCount).reversed()
        try count(number)
      }
      guard let value = values[number].popLast() else {
        throw TarnError.companion(name, "column '\(cursor.column.name.printable)' ends before row \(row)")
      }
      record.add(places[number], Self.value(value, cursor.column))
    }
    row += 1
    return true
  }

  /// Counts the memory that a column takes now.
  private func count(_ number: Int) throws {
    let byteCount = cursors[number].heldByteCount + values[number].reduce(0) { $0 + $1.byteCount }
    heldByteCount += byteCount - heldByteCounts[number]
    heldByteCounts[number] = byteCount
    guard heldByteCount <= Self.mostHeldByteCount else {
      throw TarnError.companion(
        name,
        "its columns take more than \(ByteSize.text(Self.mostHeldByteCount)) of memory side by side, at row \(row)",
        hint: "name the columns that are wanted with --columns")
    }
  }

  /// What a value is in JSON.
  static func value(_ value: ParquetValue, _ column: ParquetColumn) -> JSONValue {
    switch value {
    case .null, .list: .null
    case .boolean(let flag): .bool(flag)
    case .integer(let number): integer(number, column.logicalType)
    // JSON's numbers are binary64 to most who read them.
    case .unsigned(let number): .string(String(number))
    // The shortest text of the value itself, and not of what it becomes in binary64.
    case .float(let number): number.isFinite ? .number(Double("\(number)") ?? Double(number)) : .null
    case .double(let number): number.isFinite ? .number(number) : .null
    case .text(let text): .string(text)
    case .bytes(let bytes): .string(text(of: bytes, column))
    }
  }

  private static func integer(_ number: Int64, _ type: LogicalType?) -> JSONValue {
    switch type {
    case .date: .string(CivilTime.date(days: number))
    case .timeOfDay(let unit): .string(CivilTime.timeOfDay(number, CivilTime.ticks(unit)))
    case .timestamp(let unit): .string(CivilTime.timestamp(number, CivilTime.ticks(unit)))
    default: .integer(number)
    }
  }

  /// Bytes that nobody says are text: as such where they are UTF-8, else in hexadecimal.
  private static func text(of bytes: [UInt8], _ column: ParquetColumn) -> String {
    if column.physicalType == .byteArray, let text = String(validating: bytes, as: UTF8.self) { return text }
    let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
    guard column.logicalType == .uuid, digits.count == 16 else { return digits.joined() }
    return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { digits[$0].joined() }.joined(separator: "-")
  }
}

/// Times as parquet stores them, written as ISO 8601 has them.
enum CivilTime {
  /// What a unit divides a second into, and its digits.
  static func ticks(_ unit: LogicalType.TimeUnit) -> (count: Int64, digits: Int) {
    switch unit {
    case .milliseconds: (1000, 3)
    case .microseconds: (1_000_000, 6)
    case .nanoseconds: (1_000_000_000, 9)
    }
  }

  /// `YYYY-MM-DD` in the Gregorian calendar, also before it began.
  ///
  /// - Parameter days: Since 1970-01-01.
  /// - Returns: The text; a number of days where no calendar reaches.
  static func date(days: Int64) -> String {
    guard days.magnitude < 1 << 40 else { return "\(days) days" }
    // http://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let part = (5 * dayOfYear + 2) / 153
    let month = part < 10 ? part + 3 : part - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfYear - (153 * part + 2) / 5 + 1, 2))"
  }

  /// `HH:MM:SS.fff`.
  static func timeOfDay(_ number: Int64, _ ticks: (count: Int64, digits: Int)) -> String {
    let (second, part) = number.quotientAndRemainder(dividingBy: ticks.count)
    guard (0..<86_400).contains(second), part >= 0 else { return "\(number)" }
    return "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))."
      + padded(part, ticks.digits)
  }

  /// `YYYY-MM-DDTHH:MM:SS.fff`, whose zone the file knows.
  static func timestamp(_ number: Int64, _ ticks: (count: Int64, digits: Int)) -> String {
    let perDay = 86_400 * ticks.count
    let days = number >= 0 ? number / perDay : -((-(number + 1)) / perDay) - 1
    // Two steps, so that the least number does not overflow.
    let inDay = number >= 0 ? number % perDay : perDay - 1 - (-(number + 1)) % perDay
    return date(days: days) + "T" + timeOfDay(inDay, ticks)
  }

  private static func padded(_ number: Int64, _ width: Int) -> String {
    (number < 0 ? "-" : "") + number.magnitude.padded(to: width)
  }
}
