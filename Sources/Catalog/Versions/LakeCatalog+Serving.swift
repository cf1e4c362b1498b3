// What somebody who goes on reading a catalog has to look at again when others have written.

package import Base
internal import GRDB

/// What decides which versions are answered for, and with which rows.
package struct ServingFacts: Sendable, Equatable {
  /// A version and where it is.
  package struct Version: Sendable, Equatable {
    package let name: VersionName
    package let state: VersionState
    /// When it was sealed; empty where it is not.
    package let sealedAt: String

    package init(_ name: VersionName, _ state: VersionState, sealedAt: String = "") {
      (self.name, self.state, self.sealedAt) = (name, state, sealedAt)
    }
  }

  /// What decides what is shown of rows: an answer about them holds as long as it is the same.
  package struct Rows: Sendable, Hashable {
    /// Lists of exclusions, and rules made or taken back, of all sources; both are only ever added to.
    ///
    /// Behind them a number for the rows that ids of adopted versions count.
    package let exclusionCounts: [Int]
    /// Companions, the revisions of their shards, those of these that are here, those that versions are bound to, and
    /// packs.
    ///
    /// Behind them the same number for rows that are counted.
    package let companionCounts: [Int]

    package init(exclusionCounts: [Int] = [], companionCounts: [Int] = []) {
      (self.exclusionCounts, self.companionCounts) = (exclusionCounts, companionCounts)
    }
  }

  /// By name and number.
  package let versions: [Version]
  package let rows: Rows

  package init(versions: [Version], rows: Rows) { (self.versions, self.rows) = (versions, rows) }
}

extension LakeCatalog {
  /// A number that is another one after somebody else has written to the catalog.
  ///
  /// - SeeAlso: https://www.sqlite.org/pragma.html#pragma_data_version
  package func dataVersion() throws -> Int {
    try read { try Int.fetchOne($0, sql: "PRAGMA data_version") ?? 0 }
  }

  /// What is served may have changed with.
  package func servingFacts() throws -> ServingFacts {
    try read { database in
      func count(_ of: String) throws -> Int { try Int.fetchOne(database, sql: "SELECT count(*) FROM \(of)") ?? 0 }
      let versions = try IndexVersion.fetchAll(database, sql: "SELECT * FROM index_version ORDER BY name, number")
      let times = try String.fetchAll(
        database, sql: "SELECT coalesce(sealed_at, '') FROM index_version ORDER BY name, number")
      let (shards, ofCompanions) = ("shard h JOIN source s ON s.id = h.source_id", "s.companion_of IS NOT NULL")
      let seen = try Int.fetchOne(
        database, sql: "SELECT coalesce(sum(h.id * h.current_revision), 0) FROM \(shards) WHERE \(ofCompanions)")
      let here = try Int.fetchOne(
        database,
        sql: "SELECT coalesce(sum(h.id), 0) FROM \(shards) WHERE \(ofCompanions) AND h.state = 'present'")
      let counted = try LakeCatalog.rowsCounted(by: versions, database)
      return ServingFacts(
        versions: zip(versions, times).map { ServingFacts.Version($0.name, $0.state, sealedAt: $1) },
        rows: ServingFacts.Rows(
          exclusionCounts: [try count("exclusion_list"), try count("exclusion_rule"), counted],
          companionCounts: [
            try count("source s WHERE \(ofCompanions)"), seen ?? 0,
            here ?? 0, try count("version_companion"), try count("pack"), counted,
          ]))
    }
  }

  /// A number that is another one, as good as always, once a shard has other rows of a source by whose rows adopted
  /// versions have their ids (`--source`): what these stand for has moved.
  private static func rowsCounted(by versions: [IndexVersion], _ database: Database) throws -> Int {
    let sources = Set(versions.compactMap(\.rowsOf))
    guard !sources.isEmpty else { return 0 }
    // No sum of products with a prime below 65,536 is too large for SQLite.
    return try Int.fetchOne(
      database,
      sql: """
        SELECT coalesce(sum(h.id * ((coalesce(h.dropped_row_count, r.row_count, h.expected_row_count, -1) + 1) % 65521
          + (h.dropped_row_count IS NOT NULL))), 0)
        FROM source s JOIN shard h ON h.source_id = coalesce(s.files_of, s.id)
        LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
        WHERE s.name IN (SELECT value FROM json_each(?))
        """, arguments: [JSONValue.strings(sources.sorted()).text]) ?? 0
  }
}
