// Tables for people, and the same rows for programs.

internal import ArgumentParser
internal import Base
internal import Lake

/// How rows are printed.
enum TableFormat: String, ExpressibleByArgument, CaseIterable {
  case table, csv, json, jsonl
}

/// Rows under column names, printed all at once or as they come.
struct Table {
  private let columns: [String]
  private var rows: [[SQLValue]] = []

  init(_ columns: [String]) { self.columns = columns }

  mutating func add(_ values: [SQLValue]) { rows.append(values) }

  /// Prints the rows.
  func print(as format: TableFormat) {
    switch format {
    case .table: printAligned()
    case .csv:
      Output.line(columns.map(Table.csv).joined(separator: ","))
      for row in rows { Output.line(row.map { Table.csv(Table.text($0)) }.joined(separator: ",")) }
    case .json: Output.line(JSONValue.array(rows.map { .object(Table.object(columns, $0)) }).text)
    case .jsonl: for row in rows { Output.json(Table.object(columns, row)) }
    }
  }

  /// A row as a JSON object; of columns with one name the last counts.
  static func object(_ columns: [String], _ row: [SQLValue]) -> [String: JSONValue] {
    Dictionary(zip(columns, row.map(json)), uniquingKeysWith: { $1 })
  }

  private func printAligned() {
    let cells = rows.map { $0.map { Table.text($0).printableCell } }
    let widths = columns.indices.map { column in
      max(columns[column].count, cells.map { $0[column].count }.max() ?? 0)
    }
    let isNumber = columns.indices.map { column in
      !rows.isEmpty
        && rows.allSatisfy {
          switch $0[column] {
          case .integer, .real, .null: true
          case .text, .blob: false
          }
        }
    }
    func line(_ texts: [String]) -> String {
      var parts: [String] = []
      for (column, text) in texts.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - text.count)
        parts.append(isNumber[column] ? padding + text : text + padding)
      }
      var joined = parts.joined(separator: "  ")
      while joined.last == " " { joined.removeLast() }
      return joined
    }
    Output.line(line(columns))
    Output.line(widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "))
    for row in cells { Output.line(line(row)) }
  }

  /// A value as text; SQL null is empty.
  static func text(_ value: SQLValue) -> String {
    switch value {
    case .null: return ""
    case .integer(let value): return String(value)
    case .real(let value): return "\(value)"
    case .text(let value): return value
    case .blob(let bytes):
      return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
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

  private static func csv(_ text: String) -> String {
    guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }
}
