// A catalog as an older tarn would have left it: the rows of a lake of today
// under the first few migrations.

internal import Base
internal import Catalog
internal import Foundation
package import GRDB
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
    let queue = try CatalogFile.open(path, configuration)
    try queue.writeWithoutTransaction { database in
      try step(database, toSchema: schema)
      try database.execute(sql: "ATTACH ? AS full", arguments: [source])
      // Its triggers would refuse rows that are not in the order of a life.
      let triggers = try Row.fetchAll(database, sql: "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'")
      for trigger in triggers { try database.execute(sql: "DROP TRIGGER main.\(trigger["name"] as String)") }
      for table in try String.fetchAll(database, sql: "SELECT name FROM main.sqlite_schema WHERE type = 'table'") {
        let columns = try database.columns(in: table, in: "main").map(\.name).joined(separator: ", ")
        let rows = remodelled[table] ?? "full.\(table)"
        try database.execute(
          sql: "DELETE FROM main.\(table); INSERT INTO main.\(table) (\(columns)) SELECT \(columns) FROM \(rows)")
      }
      for trigger in triggers { try database.execute(sql: trigger["sql"] as String) }
      try database.execute(
        sql: "PRAGMA user_version = \(schema); PRAGMA application_id = \(LakeCatalog.applicationID)")
      try database.execute(sql: "DETACH full")
    }
    try queue.close()
  }

  /// Applies the migrations up to a schema to an empty catalog, step by step.
  package static func step(_ database: Database, toSchema schema: Int) throws {
    for migration in migrations.prefix(schema) {
      if migration.number == firstWithoutViews { try dropViews(database) }
      try database.execute(sql: migration.sql)
    }
  }

  /// Tables that were remodelled since, as they were, out of those of today.
  private static let remodelled = [
    "shard": """
    (SELECT h.*, b.path, b.verified_at FROM full.shard h
      LEFT JOIN full.shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
      LEFT JOIN full.stored_bytes b ON h.state IN ('present', 'evicting') AND b.sha256 = r.sha256 AND b.place = 'shards')
    """,
    "artifact": """
    (SELECT b.sha256, iif(b.kind IN ('router-labels', 'evaluation-truth'), 'nearest-images', b.kind) AS kind, b.byte_count,
      b.path, b.state, b.created_at, b.verified_at, b.deleting_at FROM full.stored_bytes b WHERE b.place = 'artifacts')
    """,
    "artifact_total": """
    (SELECT x.column1 AS kind, count(b.sha256) AS file_count, coalesce(sum(b.byte_count), 0) AS byte_count
      FROM (VALUES ('trained-index'), ('nearest-images'), ('segment'), ('output-shard')) x
      LEFT JOIN full.stored_bytes b ON b.state <> 'deleted'
        AND iif(b.kind IN ('router-labels', 'evaluation-truth'), 'nearest-images', b.kind) = x.column1 GROUP BY x.column1)
    """,
  ]

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
