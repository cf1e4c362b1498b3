// tarn's own questions to the views, asked on the catalog's connection: a second one
// would read the schema once more, a large part of what a short command takes.
// What a user asks goes to a ``QueryConsole``.

internal import GRDB

extension LakeCatalog {
  /// Runs one SELECT of tarn's own.
  ///
  /// - Parameters:
  ///   - sql: The statement; nothing that a user wrote is in it.
  ///   - row: Called with the column names and each row's values, in order; once
  ///     with nil first, so that the names are known.
  /// - Throws: ``TarnError`` when the catalog cannot be read; what `row` throws.
  package func query(_ sql: String, row: (_ columns: [String], _ values: [SQLValue]?) throws -> Void) throws {
    try read { database in
      // Of a big lake, whole tables are read, once.
      try database.execute(sql: "PRAGMA mmap_size = \(LakeCatalog.mappedByteCount)")
      let statement = try database.makeStatement(sql: sql)
      let columns = statement.columnNames
      try row(columns, nil)
      let rows = try Row.fetchCursor(statement)
      while let found = try rows.next() { try row(columns, found.databaseValues.map(SQLValue.init)) }
    }
  }

  /// The rows that one SELECT of tarn's own gives.
  ///
  /// - Parameter sql: As in ``query(_:row:)``.
  /// - Returns: The values of each row, in the order of its columns.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func rows(_ sql: String) throws -> [[SQLValue]] {
    var found: [[SQLValue]] = []
    try query(sql) { if let values = $1 { found.append(values) } }
    return found
  }
}

extension SQLValue {
  fileprivate init(_ value: DatabaseValue) {
    self =
      switch value.storage {
      case .null: .null
      case .int64(let number): .integer(number)
      case .double(let number): .real(number)
      case .string(let text): .text(text)
      case .blob(let bytes): .blob(Array(bytes))
      }
  }
}
