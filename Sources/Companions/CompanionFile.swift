// A companion's file, opened: how many rows it has, its columns, and some of its rows
// without a pack.

package import Base
internal import Parquet

/// A file of rows with names for their columns, of which nothing is believed.
package struct CompanionFile: Sendable {
  /// What messages call it.
  package let path: String
  package let format: CompanionFormat
  private let file: InputFile
  private let parquet: ParquetFile?
  /// The columns of a parquet file.
  private let schema: (read: [String], leftOut: [LeftOutColumn])?

  /// Opens a file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - name: A name that says its format.
  /// - Throws: ``TarnError`` `.badFeatures` for one of no known format, or a parquet file
  ///   that is none; `.inputsMissing` when there is none.
  package init(_ path: String, named name: String) throws {
    guard let format = CompanionFormat(ofFile: name) else {
      throw TarnError(
        .badFeatures, "'\(name.printable)' is no file of rows", hint: "one is \(CompanionFormat.enumeration)")
    }
    (self.path, self.format) = (path, format)
    file = try InputFile(path: path)
    let start = try file.bytes(at: 0, count: min(64, file.byteCount))
    if let fault = format.fault(ofStart: start) { throw TarnError.companion(path, fault) }
    parquet = format.table == .parquet ? try ParquetFile(file) : nil
    schema = parquet.map { ParquetRows.columns(of: $0) }
  }

  /// Counts its rows: of parquet as its footer says, of others by reading them.
  ///
  /// - Parameter checkpoint: Called between rows; an error of it ends the count.
  /// - Returns: How many.
  /// - Throws: ``TarnError`` `.badFeatures`, `.io`.
  package func rowCount(checkpoint: () throws -> Void = {}) throws -> Int {
    if let parquet { return parquet.rowCount }
    var count = 0
    if format.table == .csv {
      var records = CSVRecords(try lines())
      while try records.next() != nil {
        count += 1
        if count.isMultiple(of: 4096) { try checkpoint() }
      }
      // One that is empty has not even names, which is told when it is read.
      return max(0, count - 1)
    }
    var lines = try lines()
    while try lines.line() != nil {
      count += 1
      if count.isMultiple(of: 4096) { try checkpoint() }
    }
    return count
  }

  /// The columns that can be asked for: of JSON lines those of the whole file, which is
  /// read for it.
  ///
  /// - Parameters:
  ///   - names: Columns behind which no others are looked for; none for all.
  ///   - most: Rows of JSON lines that are looked at, at most.
  ///   - checkpoint: Called between rows; an error of it ends the reading.
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` `.badFeatures`, `.io`.
  package func columns(
    until names: Set<String> = [], ofFirst most: Int = .max, checkpoint: () throws -> Void = {}
  ) throws -> [String] {
    // One of them whose bytes cannot be read is in no other's way.
    if let schema { return schema.read }
    let reader = try records()
    guard format.table == .jsonl else { return reader.columns }
    var record = RowRecord()
    var (row, count) = (0, 0)
    while row < most, try reader.next(&record) {
      row += 1
      if row.isMultiple(of: 4096) { try checkpoint() }
      guard !names.isEmpty, reader.columns.count > count else { continue }
      count = reader.columns.count
      if names.isSubset(of: Set(reader.columns)) { break }
    }
    return reader.columns
  }

  /// Columns that are in the file and not read.
  package func leftOut() -> [LeftOutColumn] {
    if let schema { return schema.leftOut }
    // One whose first line cannot be read is refused where its columns are asked for.
    return format.table == .csv ? (try? records().leftOut) ?? [] : []
  }

  /// Its rows from the first on.
  ///
  /// - Parameter only: The columns that are wanted; nil for all.
  /// - Returns: What reads them.
  /// - Throws: ``TarnError`` `.badFeatures`, `.io`.
  func records(only: Set<String>? = nil) throws -> any RowReader {
    if let parquet { return try ParquetRows(parquet, named: path, only: only) }
    switch format.table {
    case .csv: return try CSVRows(lines(), only: only)
    case .txt: return PlainRows(try lines())
    case .jsonl, .parquet: return JSONRows(try lines(), only: only)
    }
  }

  private func lines() throws -> LineFeed { LineFeed(try ByteFeed(file, packing: format.packing)) }

  /// The values of some rows.
  ///
  /// Parquet is asked for these alone; others are read up to the last of them.
  ///
  /// - Parameters:
  ///   - rows: Rows of the file, in any order.
  ///   - columns: Names of columns.
  ///   - checkpoint: Called between rows; an error of it ends the reading.
  /// - Returns: For each row the values of the columns; nil for a row that the file has not.
  /// - Throws: ``TarnError`` `.usage` for a column that it has not, naming those it has;
  ///   `.badFeatures` for one that is not read, and what is damaged.
  package func values(
    ofRows rows: [Int], columns: [String], checkpoint: () throws -> Void = {}
  ) throws -> [[JSONValue]?] {
    if let parquet, let schema {
      try requireColumns(columns, among: schema.read, schema.leftOut, of: path)
      return try values(ofRows: rows, columns: columns, of: parquet, checkpoint: checkpoint)
    }
    // Members of JSON come as they do: only the end tells that none has a name.
    let reader = try records(only: format.table == .jsonl ? nil : Set(columns))
    let wanted = Set(rows)
    guard let last = wanted.max() else { return [] }
    var found: [Int: [UInt8]] = [:]
    var record = RowRecord()
    var row = 0
    while row <= last || !columns.allSatisfy(reader.columns.contains), try reader.next(&record) {
      if wanted.contains(row) { found[row] = record.bytes }
      row += 1
      if row.isMultiple(of: 4096) { try checkpoint() }
    }
    try requireColumns(columns, among: reader.columns, reader.leftOut, of: path)
    let places = reader.columns.map { columns.firstIndex(of: $0) }
    return rows.map { row in
      found[row].flatMap { RowRecord.values(of: $0, 0..<$0.count, places: places, count: columns.count) }
    }
  }

  private func values(
    ofRows rows: [Int], columns: [String], of parquet: ParquetFile, checkpoint: () throws -> Void
  ) throws -> [[JSONValue]?] {
    let known = Set(rows.filter { (0..<parquet.rowCount).contains($0) }).sorted()
    var found: [Int: [JSONValue]] = [:]
    for name in columns {
      try checkpoint()
      let column = try parquet.column(named: name)
      for (row, value) in zip(known, try parquet.values(ofRows: known, column: name)) {
        found[row, default: []].append(ParquetRows.value(value, column))
      }
    }
    return rows.map { found[$0] }
  }
}

/// Refuses columns that a file has not, or that are not read of it.
///
/// - Throws: ``TarnError`` `.usage` naming those that it has, `.badFeatures` with why.
func requireColumns(
  _ columns: [String], among known: [String], _ leftOut: [LeftOutColumn], of path: String
) throws {
  let readable = Set(known)
  for name in columns where !readable.contains(name) {
    if let column = leftOut.first(where: { $0.isMeant(by: name) }) {
      throw TarnError(
        .badFeatures, "column '\(name.printable)' of \(path) is not read: it is \(column.why)", hint: column.hint)
    }
    throw TarnError(
      .usage, "\(path) has no column '\(name.printable)'",
      hint: known.isEmpty ? "it has none" : "it has \(known.map { ColumnList.text(of: $0).printable }.listed(20))")
  }
}
