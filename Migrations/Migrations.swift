// The catalog's schema: numbered migrations of its tables, what they come to for a
// new catalog, and the views, made anew after them. A migration that has landed is
// never edited: its digest is pinned by a test, and a change is a new file at the end.

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
package let migrations: [Migration] = [
  migration(1, "M0001_catalog", PackageResources.M0001_catalog_sql),
  migration(2, "M0002_history", PackageResources.M0002_history_sql),
  migration(3, "M0003_totals", PackageResources.M0003_totals_sql),
  migration(4, "M0004_evaluation", PackageResources.M0004_evaluation_sql),
  migration(5, "M0005_chunks", PackageResources.M0005_chunks_sql),
  migration(6, "M0006_router", PackageResources.M0006_router_sql),
  migration(7, "M0007_locations", PackageResources.M0007_locations_sql),
  migration(8, "M0008_views", PackageResources.M0008_views_sql),
  migration(9, "M0009_ranges", PackageResources.M0009_ranges_sql),
  migration(10, "M0010_indexes", PackageResources.M0010_indexes_sql),
  migration(11, "M0011_stored_bytes", PackageResources.M0011_stored_bytes_sql),
  migration(12, "M0012_guards", PackageResources.M0012_guards_sql),
  migration(13, "M0013_views", PackageResources.M0013_views_sql),
  migration(14, "M0014_trust", PackageResources.M0014_trust_sql),
  migration(15, "M0015_ways_back", PackageResources.M0015_ways_back_sql),
  migration(16, "M0016_tombstones", PackageResources.M0016_tombstones_sql),
  migration(17, "M0017_published", PackageResources.M0017_published_sql),
  migration(18, "M0018_listings", PackageResources.M0018_listings_sql),
  migration(19, "M0019_adopted", PackageResources.M0019_adopted_sql),
  migration(20, "M0020_commands", PackageResources.M0020_commands_sql),
  migration(21, "M0021_arrays", PackageResources.M0021_arrays_sql),
  migration(22, "M0022_exclusions", PackageResources.M0022_exclusions_sql),
  migration(23, "M0023_companions", PackageResources.M0023_companions_sql),
  migration(24, "M0024_refine", PackageResources.M0024_refine_sql),
  migration(25, "M0025_rules", PackageResources.M0025_rules_sql),
  migration(26, "M0026_training", PackageResources.M0026_training_sql),
  migration(27, "M0027_readers_rules", PackageResources.M0027_readers_rules_sql),
]

/// The first migration that touches tables alone: those before it drop and make
/// views themselves, and it and those after it find none.
package let firstWithoutViews = 10

/// The tables of a new catalog: what all migrations make of an empty one, in a part of their time.
///
/// `scripts/schema.py` writes it, and a test holds it to the steps.
package let tables = String(decoding: PackageResources.Schema_sql, as: UTF8.self)

/// Every view, made when a catalog is, and anew when one is migrated.
package let views = String(decoding: PackageResources.Views_sql, as: UTF8.self)

private func migration(_ number: Int, _ name: String, _ bytes: [UInt8]) -> Migration {
  Migration(number: number, name: name, sql: String(decoding: bytes, as: UTF8.self))
}
