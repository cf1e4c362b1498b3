// Listings that sources were registered from, and what a newer one says of shards that are
// there: another address, or other bytes than were expected of one that was never fetched.

package import Base
internal import GRDB

/// A shard that a listing has elsewhere, or with other bytes.
package struct ShardMove: Sendable {
  package let shardID: Int64
  package let name: String
  /// The mirror whose address it is.
  package let mirrorID: Int64
  package let url: String
  /// What is expected of it from now on; nil where that stays.
  package let expectation: ListedFile?

  package init(shardID: Int64, name: String, mirrorID: Int64, url: String, expectation: ListedFile?) {
    self.shardID = shardID
    self.name = name
    self.mirrorID = mirrorID
    self.url = url
    self.expectation = expectation
  }
}

extension LakeCatalog {
  /// The listing of a source that is in force; nil for a source without one.
  package func listing(of source: Source) throws -> SourceListing? {
    try read {
      try SourceListing.fetchOne(
        $0, sql: "SELECT * FROM source_listing WHERE source_id = ? ORDER BY number DESC LIMIT 1", arguments: [source.id]
      )
    }
  }

  /// Versions that rest on what a source is now: on its addresses, which their documents
  /// state, and on how many rows its shards are expected to have.
  package func versions(restingOn source: Source) throws -> [String] {
    try read { try LakeCatalog.versions(restingOn: source, $0) }
  }

  /// What an event says of a listing.
  static func detail(of listing: SourceListing?) -> [String: JSONValue] {
    listing.map { ["listing": $0.detail] } ?? [:]
  }

  /// Gives shards the addresses that a listing has, and what it expects of them.
  static func apply(_ moved: [ShardMove], to source: Source, at time: String, _ database: Database) throws {
    guard !moved.isEmpty else { return }
    if let version = try versions(restingOn: source, database).first {
      throw TarnError(
        .conflict, "the addresses of \(source.name) stay: \(version) rests on them", hint: "run the same command again")
    }
    for move in moved {
      if let file = move.expectation {
        let isObserved = try Bool.fetchOne(
          database, sql: "SELECT EXISTS (SELECT 1 FROM shard_revision WHERE shard_id = ?)", arguments: [move.shardID])
        guard isObserved != true else {
          throw TarnError(
            .conflict, "\(move.name.printable) of \(source.name) was fetched meanwhile",
            hint: "run the same command again")
        }
        try database.run(
          """
          UPDATE shard SET expected_byte_count = ?, expected_sha256 = ?, expected_row_count = NULL, changed_at = ?
          WHERE id = ? AND source_id = ?
          """, [file.byteCount, file.digest?.hex, time, move.shardID, source.id])
      }
      // What was seen at the address of before says nothing of this one.
      try database.run(
        """
        UPDATE shard_location SET url = ?, state = 'unknown', byte_count = NULL, row_count = NULL, etag = NULL,
          last_modified = NULL, last_error = NULL, checked_at = NULL
        WHERE shard_id = ? AND mirror_id = ?
        """, [move.url, move.shardID, move.mirrorID])
    }
  }
}
