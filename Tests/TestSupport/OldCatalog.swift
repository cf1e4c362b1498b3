// A catalog as an older tarn would have left it: the rows of a lake of today
// under the first few migrations.

internal import Base
internal import Catalog
internal import Foundation
internal import GRDB
internal import Migrations

/// Makes catalogs of older schemas.
package enum OldCatalog {
  /// Writes the rows of a catalog into one of an older schema.
  ///
  /// What the older schema has no place for is left out.
  ///
  /// - Parameters:
  ///   - source: A catalog of the present schema.
  ///   - schema: The number of the older one.
  ///   - path: The older catalog's file, which must not be there.
  /// - Throws: SQLite's error.
  package static func write(_ source: String, asSchema schema: Int, to path: String) throws {
    var configuration = Configuration()
    configuration.foreignKeysEnabled = false
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.writeWithoutTransaction { database in
      for migration in migrations.prefix(schema) {
        if migration.number == firstWithoutViews { try dropViews(database) }
        try database.execute(sql: migration.sql)
      }
      try database.execute(sql: "ATTACH ? AS full", arguments: [source])
      // Its triggers would refuse rows that are not in the order of a life.
      let triggers = try Row.fetchAll(database, sql: "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'")
      for trigger in triggers { try database.execute(sql: "DROP TRIGGER main.\(trigger["name"] as String)") }
      for table in try String.fetchAll(database, sql: "SELECT name FROM main.sqlite_schema WHERE type = 'table'") {
        let columns = try database.columns(in: table, in: "main").map(\.name).joined(separator: ", ")
        try database.execute(
          sql: "DELETE FROM main.\(table); INSERT INTO main.\(table) (\(columns)) SELECT \(columns) FROM full.\(table)")
      }
      for trigger in triggers { try database.execute(sql: trigger["sql"] as String) }
      try database.execute(
        sql: "PRAGMA user_version = \(schema); PRAGMA application_id = \(LakeCatalog.applicationID)")
      try database.execute(sql: "DETACH full")
    }
    try queue.close()
  }

  private static func dropViews(_ database: Database) throws {
    for view in try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'view'") {
      try database.execute(sql: "DROP VIEW \(view)")
    }
  }

  /// Replaces a lake's catalog by one of an older schema with the same rows.
  ///
  /// - Parameters:
  ///   - lake: The lake's directory; no tarn is using it.
  ///   - schema: The number of the older schema.
  /// - Throws: SQLite's error, the file system's.
  package static func age(_ lake: String, toSchema schema: Int) throws {
    let (path, old) = (lake + "/catalog.sqlite", lake + "/catalog.old")
    try write(path, asSchema: schema, to: old)
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: path + suffix) != nil {
      try FileManager.default.removeItem(atPath: path + suffix)
    }
    try FileManager.default.moveItem(atPath: old, toPath: path)
  }
}
