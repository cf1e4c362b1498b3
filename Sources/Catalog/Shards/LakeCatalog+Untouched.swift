// Whether bytes need hashing again before they are used: a look at size and time
// instead, where reading all of a shard for a few of its rows would be the cost.

internal import Base
internal import Foundation
internal import GRDB

extension LakeCatalog {
  /// Whether a shard's file is by size and time the one that was verified.
  ///
  /// `verified_at` is when its bytes were last hashed and found right, so a file
  /// that was modified later may be another. A disk that changes bytes by
  /// itself leaves the time: `verify` finds that.
  ///
  /// - Parameter input: A shard of a version, in the lake.
  /// - Returns: Whether it looks untouched; false also when it is gone.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func looksUntouched(_ input: VersionInput) throws -> Bool {
    guard let path = input.path, let revision = input.revision else { return false }
    let verifiedAt = try read { database in
      try String.fetchOne(
        database, sql: "SELECT verified_at FROM stored_bytes WHERE sha256 = ? AND place = 'shards' AND path = ?",
        arguments: [revision.digest.hex, path])
    }
    let file = (layout.path(path, in: .shards) as NSString).resolvingSymlinksInPath
    guard let verifiedAt, let facts = try? FileManager.default.attributesOfItem(atPath: file),
      let modified = facts[.modificationDate] as? Date
    else { return false }
    return Disk.size(of: file) == revision.byteCount && Timestamp.text(modified) <= verifiedAt
  }
}
