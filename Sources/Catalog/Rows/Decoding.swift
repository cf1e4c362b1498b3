// Columns as values: digests, names of enumerations, and statements that are
// prepared once.

internal import Base
internal import GRDB

extension Row {
  /// A digest column; nil for SQL null.
  func digest(_ column: String) throws -> ContentDigest? {
    guard let text: String = self[column] else { return nil }
    guard let digest = ContentDigest(hex: text) else {
      throw TarnError(.database, "column \(column) holds '\(text.printable)', which is not a digest")
    }
    return digest
  }

  /// A digest column that is never null.
  func requiredDigest(_ column: String) throws -> ContentDigest {
    guard let digest = try digest(column) else {
      throw TarnError(.database, "column \(column) is null where a digest belongs")
    }
    return digest
  }

  /// A column that names a case of an enumeration.
  func named<Value: RawRepresentable>(_ column: String) throws -> Value where Value.RawValue == String {
    let text: String = self[column]
    guard let value = Value(rawValue: text) else {
      throw TarnError(.schemaNewer, "column \(column) holds '\(text.printable)', which this tarn does not know")
    }
    return value
  }
}

extension Database {
  /// Runs a statement that this connection prepares once.
  ///
  /// - Parameters:
  ///   - sql: One statement.
  ///   - arguments: A value for each of its places, in order.
  /// - Throws: SQLite's error.
  func run(_ sql: String, _ arguments: StatementArguments) throws {
    try cachedStatement(sql: sql).execute(arguments: arguments)
  }

  /// The first row of a query that this connection prepares once: what is asked of each
  /// input of a version is asked very often.
  ///
  /// - Parameters:
  ///   - sql: One query.
  ///   - arguments: A value for each of its places, in order.
  /// - Returns: The row; nil where there is none.
  /// - Throws: SQLite's error.
  func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
    try Row.fetchOne(cachedStatement(sql: sql), arguments: arguments)
  }

  /// Runs an INSERT, and gives the number of its row.
  func insert(_ sql: String, _ arguments: StatementArguments) throws -> Int64 {
    try run(sql, arguments)
    return lastInsertedRowID
  }
}
