// The documentation of the views, read out of the catalog itself: SQLite keeps
// a view's text with its comments, and each line of ours names one column.

internal import Foundation
internal import GRDB

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
