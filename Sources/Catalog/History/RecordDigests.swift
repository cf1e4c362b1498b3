// Digests of what is recorded once and never changes, as events carry them: a
// row that was changed behind the triggers is another digest than its event's.
// Columns are named one by one, so that a column more changes none.

internal import Base
internal import GRDB

/// Rows as one value whose digest an event can carry.
enum RecordDigests {
  /// An evaluation with its points.
  static func evaluation(_ id: Int64, _ database: Database) throws -> ContentDigest {
    try digest(
      [
        """
        SELECT evaluated_at, queries, queries_sha256, query_count, row_count, truth_sha256, threads, imbalance,
          list_sizes, environment FROM evaluation WHERE id = ?
        """,
        "SELECT nprobe, vectors_scanned, seconds FROM evaluation_point WHERE evaluation_id = ? ORDER BY nprobe",
        """
        SELECT nprobe, k, recall, standard_error, routing_recall FROM evaluation_recall WHERE evaluation_id = ?
        ORDER BY nprobe, k
        """,
      ], of: id, database)
  }

  /// What a rebuild found.
  static func reproduction(_ id: Int64, _ database: Database) throws -> ContentDigest {
    try digest(
      ["SELECT started_at, ended_at, outcome, detail, environment FROM reproduction WHERE id = ?"], of: id, database)
  }

  /// What was measured while an index was trained.
  static func training(_ id: Int64, _ database: Database) throws -> ContentDigest {
    try digest(
      [
        """
        SELECT iteration, objective, moved_share, imbalance, empty_count, largest_count FROM training_iteration
        WHERE trained_index_id = ? ORDER BY iteration
        """,
        "SELECT epoch, loss FROM router_epoch WHERE trained_index_id = ? ORDER BY epoch",
      ], of: id, database)
  }

  private static func digest(_ queries: [String], of id: Int64, _ database: Database) throws -> ContentDigest {
    let rows = try queries.map { sql in
      JSONValue.array(
        try Row.fetchAll(database, sql: sql, arguments: [id]).map { row in
          .array(row.databaseValues.map(value))
        })
    }
    return .of(JSONValue.array(rows).text)
  }

  private static func value(_ value: DatabaseValue) -> JSONValue {
    switch value.storage {
    case .null: .null
    case .int64(let number): .integer(number)
    case .double(let number): .number(number)
    case .string(let text): .string(text)
    case .blob(let data): .string(ContentDigest.of(data).hex)
    }
  }
}
