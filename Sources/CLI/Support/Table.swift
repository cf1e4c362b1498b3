// Tables for people, and the same rows for programs.

internal import ArgumentParser
internal import Base
internal import Lake

/// How rows are printed.
enum TableFormat: String, ExpressibleByArgument, CaseIterable {
  case table, csv, json, jsonl

  /// Whether values keep their kinds.
  var isForPrograms: Bool { self == .json || self == .jsonl }
}

/// Prints rows as they come, in memory that does not grow with their number.
struct RowPrinter {
  private let columns: [String]
  private let format: TableFormat
  private let objects: Set<String>
  /// Rows whose widths are not settled yet.
  private var held: [[SQLValue]] = []
  private var heldByteCount = 0
  private var layout: TextColumns?
  /// The beginning of a JSON document that waits for what comes behind it.
  private var pending = "["
  private var isHeaded = false

  /// How many rows, or bytes of them, settle how wide the columns are.
  private static let layoutRowCount = 1_000
  private static let layoutByteCount = 1 << 20

  /// Begins to print rows.
  ///
  /// - Parameters:
  ///   - columns: Their names.
  ///   - format: How they are printed.
  ///   - objects: Columns whose texts are JSON, which is told as it is where JSON is.
  init(_ columns: [String], as format: TableFormat, objects: Set<String> = []) {
    self.columns = format.isForPrograms ? Table.distinct(columns) : columns
    self.format = format
    self.objects = objects
  }

  /// Prints a row, or keeps it until enough have come.
  mutating func add(_ row: [SQLValue]) {
    switch format {
    case .csv:
      head()
      Output.csv(row.map(Table.text))
    case .jsonl: Output.json(text: Table.json(columns, row, objects: objects))
    case .json:
      if pending != "[" { Output.json(text: pending + ",") }
      pending = (pending == "[" ? "[" : "") + Table.json(columns, row, objects: objects)
    case .table:
      if let layout { return Output.line(layout.line(Self.cells(row))) }
      held.append(row)
      heldByteCount += row.reduce(0) { $0 + $1.byteCount }
      if held.count >= Self.layoutRowCount || heldByteCount >= Self.layoutByteCount { settle() }
    }
  }

  /// Prints what is left.
  mutating func end() {
    switch format {
    case .csv: head()
    case .jsonl: break
    case .json: Output.json(text: pending + "]")
    case .table: if layout == nil { settle() }
    }
  }

  private mutating func head() {
    if !isHeaded { Output.csv(columns) }
    isHeaded = true
  }

  private mutating func settle() {
    let cells = held.map(Self.cells)
    let names = columns.map(\.printableLine)
    let layout = TextColumns([names] + cells) { column in
      !held.isEmpty
        && held.allSatisfy {
          switch $0[column] {
          case .integer, .real, .null: true
          case .text, .blob: false
          }
        }
    }
    Output.line(layout.line(names))
    Output.line(layout.widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "))
    for row in cells { Output.line(layout.line(row)) }
    self.layout = layout
    held = []
  }

  private static func cells(_ row: [SQLValue]) -> [String] { row.map { Table.text($0).printableLine } }
}

extension SQLValue {
  fileprivate var byteCount: Int {
    switch self {
    case .null, .integer, .real: 8
    case .text(let text): text.utf8.count
    case .blob(let bytes): bytes.count
    }
  }
}

/// A few rows under column names, printed all at once.
struct Table {
  private let columns: [String]
  private let objects: Set<String>
  private var rows: [[SQLValue]] = []

  init(_ columns: [String], objects: Set<String> = []) {
    self.columns = columns
    self.objects = objects
  }

  mutating func add(_ values: [SQLValue]) { rows.append(values) }

  /// Prints the rows.
  func print(as format: TableFormat) {
    var printer = RowPrinter(columns, as: format, objects: objects)
    for row in rows { printer.add(row) }
    printer.end()
  }

  /// The names of columns, no two the same: the second `a` is `a:1`, as SQLite calls it in a subquery.
  static func distinct(_ columns: [String]) -> [String] {
    var taken: Set<String> = []
    return columns.map { column in
      var (name, number) = (column, 0)
      while !taken.insert(name).inserted {
        number += 1
        name = "\(column):\(number)"
      }
      return name
    }
  }

  /// A row as the text of a JSON object, in the order of its columns, whose names are distinct.
  static func json(_ columns: [String], _ row: [SQLValue], objects: Set<String> = []) -> String {
    let members = zip(columns, row).map { name, value in
      let told = json(value)
      let text = objects.contains(name) ? told.string ?? told.text : told.text
      return "\(JSONValue.string(name).text):\(text)"
    }
    return "{\(members.joined(separator: ","))}"
  }

  /// A row as a JSON object; of columns with one name the last counts.
  static func object(_ columns: [String], _ row: [SQLValue]) -> [String: JSONValue] {
    Dictionary(zip(columns, row.map(json)), uniquingKeysWith: { $1 })
  }

  /// A value as text; SQL null is empty.
  static func text(_ value: SQLValue) -> String {
    switch value {
    case .null: return ""
    case .integer(let value): return String(value)
    case .real(let value): return "\(value)"
    case .text(let value): return value
    case .blob(let bytes):
      let digits = Array("0123456789abcdef".utf8)
      return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
  }

  private static func json(_ value: SQLValue) -> JSONValue {
    switch value {
    case .null: .null
    case .integer(let value): .integer(value)
    case .real(let value): .number(value)
    case .text(let value): .string(value)
    case .blob: .string(text(value))
    }
  }
}
