// Rows of `stored_bytes`: every file that the catalog vouches for, once.

package import Base
internal import GRDB

/// A row of `stored_bytes`.
package struct StoredBytes: Sendable {
  package let digest: ContentDigest
  /// What they were stored for first.
  package let kind: StoredKind
  package let byteCount: Int
  /// File below the directory of its place.
  package let path: String
  package let state: StoredState
}

extension StoredBytes: FetchableRecord {
  init(row: Row) throws {
    digest = try row.requiredDigest("sha256")
    kind = try row.named("kind")
    byteCount = row["byte_count"]
    path = row["path"]
    state = try row.named("state")
  }

  /// The bytes of a digest in a place, there or gone; nil when they never were.
  static func find(_ digest: ContentDigest, in place: Place, _ database: Database) throws -> StoredBytes? {
    try StoredBytes.fetchOne(
      database.cachedStatement(sql: "SELECT * FROM stored_bytes WHERE sha256 = ? AND place = ?"),
      arguments: [digest.hex, place.rawValue])
  }

  /// Vouches for bytes that are durable under their final name (invariant 1).
  ///
  /// Bytes that were there before keep their row and path, and are present again
  /// if they were gone.
  ///
  /// - Parameters:
  ///   - digest: Their SHA-256.
  ///   - kind: What they are for.
  ///   - byteCount: How many.
  ///   - path: Their file below the directory of the kind's place; where bytes
  ///     of that digest have a row, the path in it.
  ///   - verifiedAt: When they were read and found right; nil if they were not.
  ///   - database: The connection, in a transaction.
  /// - Throws: SQLite's error.
  static func insert(
    _ digest: ContentDigest, _ kind: StoredKind, byteCount: Int, path: String, verifiedAt: String?,
    _ database: Database
  ) throws {
    if let known = try find(digest, in: kind.place, database) {
      guard known.state != .present || verifiedAt != nil else { return }
      try database.run(
        """
        UPDATE stored_bytes SET state = 'present', deleting_at = NULL, verified_at = coalesce(?, verified_at)
        WHERE sha256 = ? AND place = ?
        """, [verifiedAt, digest.hex, kind.place.rawValue])
      return
    }
    try database.run(
      """
      INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, created_at, verified_at)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      """, [digest.hex, kind.place.rawValue, kind.rawValue, byteCount, path, Timestamp.now(), verifiedAt])
  }
}
