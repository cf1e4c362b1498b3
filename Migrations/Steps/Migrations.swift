// The catalog's schema: numbered migrations of its tables, what they come to for a
// new catalog, and the views, made anew after them. A migration that has landed is
// never edited: its digest is pinned by a test, and a change is a new file at the end.

internal import CMigrations

/// One step of the catalog's schema.
package struct Migration: Sendable {
  /// The schema number after this step; also SQLite's `user_version`.
  package let number: Int
  /// File name without its extension.
  package let name: String
  /// The statements, run in one transaction; none where the views alone changed.
  package let sql: String
}

/// Every migration, oldest first.
///
/// The last one's number is the schema's and stands for ``views`` too: a change of
/// these is a step of its own, if with no statements.
package let migrations: [Migration] = {
  var steps: [Migration] = []
  while let step = cmigrations_step(steps.count) {
    steps.append(
      Migration(
        number: steps.count + 1, name: String(cString: step.pointee.name), sql: String(cString: step.pointee.sql)))
  }
  return steps
}()

/// The first migration that touches tables alone: those before it drop and make
/// views themselves, and it and those after it find none.
package let firstWithoutViews = 10

/// The tables of a new catalog: what all migrations make of an empty one, in a part of their time.
///
/// `scripts/schema.py` writes it, and a test holds it to the steps.
package let tables = String(cString: cmigrations_tables())

/// Every view, made when a catalog is, and anew when one is migrated.
package let views = String(cString: cmigrations_views())
