// No row of a catalog can be made another one behind tarn's back: every key
// column and rowid of every table, through every setting that a plain SQLite
// connection can have.

import Base
import Catalog
import Foundation
import GRDB
import TestSupport
import Testing

@Suite struct IdentityTests {
  /// What a connection may have on or off; the schema itself stays as it is.
  struct Settings: Sendable, CustomTestStringConvertible {
    static let names = [
      "foreign_keys", "recursive_triggers", "trusted_schema", "ignore_check_constraints", "defer_foreign_keys",
    ]
    let bits: Int

    var pragmas: String {
      Self.names.enumerated().map { "PRAGMA \($1) = \(bits >> $0 & 1 == 1 ? "ON" : "OFF")" }.joined(separator: "; ")
    }
    var testDescription: String { pragmas }
  }

  private static let filled = Result {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fillEveryTable(lake)
    return lake
  }

  /// A table's keys: its primary key, what is unique, what refers to another
  /// table, and its rowid under every name.
  private func keys(of table: String, _ database: Database) throws -> [String] {
    let columns = try Row.fetchAll(database, sql: "SELECT name, pk FROM pragma_table_info(?)", arguments: [table])
    let primary = columns.filter { $0["pk"] as Int > 0 }.map { $0["name"] as String }
    let unique = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT i.name FROM pragma_index_list(?) l, pragma_index_info(l.name) i
        WHERE l."unique" AND i.name IS NOT NULL
        """, arguments: [table])
    let foreign = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT k."from" FROM pragma_foreign_key_list(?) k JOIN pragma_table_info(?) c ON c.name = k."from"
        """, arguments: [table, table])
    let hasRowID = try Bool.fetchOne(
      database, sql: "SELECT wr = 0 FROM pragma_table_list(?) WHERE schema = 'main'", arguments: [table])
    return Array(Set(primary + unique + foreign)).sorted() + (hasRowID == true ? ["rowid", "_rowid_", "oid"] : [])
  }

  /// What the views say of versions that are sealed or were.
  private func answers(_ database: Database) throws -> [String] {
    let questions = [
      "SELECT * FROM v_version WHERE state IN ('sealed', 'revoked') ORDER BY version",
      """
      SELECT version, input, source, ordinal, shard, revision, sha256, bytes, is_hole, first_id, rows, output
      FROM v_version_input WHERE version IN (SELECT version FROM v_version WHERE state IN ('sealed', 'revoked'))
      ORDER BY version, input
      """,
      """
      SELECT * FROM v_output_shard
      WHERE version IN (SELECT version FROM v_version WHERE state IN ('sealed', 'revoked')) ORDER BY version, output
      """,
      """
      SELECT version, state, inputs, holes, outputs, outputs_done, rows FROM v_build_progress
      WHERE state IN ('sealed', 'revoked') ORDER BY version
      """,
      "SELECT * FROM v_evaluation ORDER BY 1, 7, 8", "SELECT * FROM v_pin ORDER BY 1, 3",
      // What v_trained_index reads: the view looks into JSON, which a connection
      // that does not trust schemas refuses.
      """
      SELECT t.*, i.name, c.name, a.byte_count, a.path, r.method, r.epochs, k.bit_count, k.has_ranges FROM trained_index t
      JOIN source i ON i.id = t.image_source_id JOIN codec k ON k.name = t.codec
      LEFT JOIN trained_router r ON r.trained_index_id = t.id
      LEFT JOIN source c ON c.id = coalesce(t.caption_source_id, r.caption_source_id)
      LEFT JOIN stored_bytes a ON a.sha256 = t.sha256 AND a.place = 'artifacts' WHERE t.state = 'ready' ORDER BY t.id
      """,
      "SELECT * FROM v_event ORDER BY seq",
      "SELECT version_id, text FROM lock_text ORDER BY 1",
      """
      SELECT v.name, v.number, b.* FROM output_shard o JOIN index_version v ON v.id = o.version_id
      JOIN stored_bytes b ON b.sha256 = o.sha256 AND b.place = 'artifacts' AND b.state = 'present' ORDER BY 1, 2, 3
      """,
    ]
    return try questions.flatMap { question in
      try Row.fetchAll(database, sql: question).map { "\($0)" }
    }
  }

  @Test(arguments: (0..<32).map(Settings.init)) func noRowBecomesAnotherOne(_ settings: Settings) throws {
    let lake = try Self.filled.get()
    let queue = try DatabaseQueue()
    try CatalogFile.open(lake.root + "/catalog.sqlite").backup(to: queue)
    try queue.inDatabase { (database: Database) throws -> Void in
      try database.execute(sql: settings.pragmas)
      let before = try answers(database)
      #expect(before.count > 20)
      let tables = try String.fetchAll(
        database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      var tried = 0
      for table in tables {
        for key in try keys(of: table, database) {
          for clause in ["", "OR REPLACE", "OR IGNORE"] {
            for value in ["\(key) + 1000", "\(key) || 'x'", "NULL", "(SELECT max(\(key)) FROM \(table))"] {
              tried += 1
              try attempt("UPDATE \(clause) \(table) SET \(key) = \(value)", settings, before, database)
            }
          }
        }
        try attempt("DELETE FROM \(table)", settings, before, database)
        let columns = try String.fetchAll(
          database, sql: "SELECT name FROM pragma_table_info(?)", arguments: [table]
        ).joined(separator: ", ")
        for clause in ["OR REPLACE", "OR IGNORE"] {
          try attempt(
            "INSERT \(clause) INTO \(table) (\(columns)) SELECT \(columns) FROM \(table)", settings, before, database)
        }
      }
      #expect(tried > 1500)
    }
  }

  /// Tries a write: refused or not, sealed versions are what they were.
  private func attempt(
    _ sql: String, _ settings: Settings, _ before: [String], _ database: Database
  ) throws {
    try database.execute(sql: "BEGIN")
    let changes = database.totalChangesCount
    do {
      try database.execute(sql: sql)
      if database.totalChangesCount != changes {
        let after = try answers(database)
        #expect(after == before, "\(sql); \(settings.pragmas)")
      }
    } catch is DatabaseError {
      // Refused.
    }
    if database.isInsideTransaction { try database.execute(sql: "ROLLBACK") }
  }
}
