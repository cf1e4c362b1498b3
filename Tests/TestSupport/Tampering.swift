// What somebody does who may write a lake's directory: the guards go, rows
// change, the guards are back.

internal import GRDB

/// Changes catalogs behind their triggers.
package enum Tampering {
  /// Runs statements with triggers dropped, and foreign keys and CHECKs off; then
  /// the triggers are as they were.
  ///
  /// - Parameters:
  ///   - catalog: The catalog's file.
  ///   - statements: What is run, in order.
  /// - Throws: SQLite's error.
  package static func run(_ catalog: String, _ statements: [String]) throws {
    var configuration = Configuration()
    configuration.foreignKeysEnabled = false
    let queue = try CatalogFile.open(catalog, configuration)
    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA ignore_check_constraints = ON") }
    try queue.write { database in
      let triggers = try Row.fetchAll(database, sql: "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
      for trigger in triggers { try database.execute(sql: "DROP TRIGGER \(trigger["name"] as String)") }
      for statement in statements { try database.execute(sql: statement) }
      for trigger in triggers { try database.execute(sql: trigger["sql"] as String) }
    }
    try queue.close()
  }
}
