// How the schema comes into a catalog, tables first and views after them; and the
// documentation of the views, read out of the catalog itself: SQLite keeps a
// view's text with its comments, and each line of ours names one column.

internal import Foundation
internal import GRDB
internal import Migrations

/// A view of the public SQL interface.
package struct ViewDocumentation: Sendable {
  /// One column: its name and what it means.
  package struct Column: Sendable {
    package let name: String
    package let meaning: String
  }

  package let name: String
  package let columns: [Column]
}

extension LakeCatalog {
  /// Makes tables and views of this build's schema in an empty catalog, in the caller's transaction.
  ///
  /// - Throws: SQLite's error.
  static func makeSchema(in database: Database) throws {
    for sql in [tables, views] { try database.execute(sql: sql) }
  }

  /// Brings tables and views to this build's schema, in the caller's transaction.
  ///
  /// Every view is dropped before the first migration that touches tables alone:
  /// SQLite refuses to rename what a view reads. Names that begin with `v_` are
  /// ours; views of the lake's owner are made again as they were.
  ///
  /// - Parameters:
  ///   - number: The schema that the catalog has; 0 for an empty one.
  ///   - database: Its connection.
  /// - Throws: SQLite's error.
  static func applyMigrations(after number: Int, to database: Database) throws {
    let pending = migrations.filter { $0.number > number }
    for step in pending where step.number < firstWithoutViews { try database.execute(sql: step.sql) }
    var owned: [String] = []
    let present = try Row.fetchAll(database, sql: "SELECT name, sql FROM sqlite_schema WHERE type = 'view'")
    for (name, sql) in present.map({ ($0["name"] as String, $0["sql"] as String) }) {
      try database.execute(sql: "DROP VIEW \(name.quotedDatabaseIdentifier)")
      if !name.hasPrefix("v_") { owned.append(sql) }
    }
    for step in pending where step.number >= firstWithoutViews { try database.execute(sql: step.sql) }
    for sql in [views] + owned { try database.execute(sql: sql) }
  }

  /// Every view with its columns, by name.
  package func viewDocumentation() throws -> [ViewDocumentation] {
    let views = try read { database in
      try Row.fetchAll(database, sql: "SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY name").map {
        (name: $0["name"] as String, sql: $0["sql"] as String)
      }
    }
    return views.map { ViewDocumentation(name: $0.name, columns: LakeCatalog.columns(ofView: $0.sql)) }
  }

  /// A documented column is a line `… AS name, -- meaning`, or `name, -- …`.
  private static func columns(ofView sql: String) -> [ViewDocumentation.Column] {
    sql.split(separator: "\n").compactMap { line in
      guard let comment = line.range(of: " -- ") else { return nil }
      let expression = line[..<comment.lowerBound].drop(while: \.isWhitespace)
      let word = expression.split(separator: " ").last.map(String.init) ?? ""
      let name = word.trimmingCharacters(in: CharacterSet(charactersIn: ","))
      return ViewDocumentation.Column(name: name, meaning: String(line[comment.upperBound...]))
    }
  }
}
