// The chunks of revisions as the catalog keeps them, and shards whose bytes
// were mended in place.

package import Base
internal import Foundation
internal import GRDB

extension LakeCatalog {
  /// The chunks of a revision; nil when they were not recorded.
  package func chunks(of revision: ShardRevision) throws -> ShardChunks? {
    try read { database in
      let row = try Row.fetchOne(
        database, sql: "SELECT chunk_byte_count, states FROM shard_chunks WHERE shard_id = ? AND revision = ?",
        arguments: [revision.shardID, revision.number])
      guard let row, row["chunk_byte_count"] == ChunkHasher.chunkByteCount else { return nil }
      return ShardChunks(byteCount: revision.byteCount, digest: revision.digest, states: Array(row["states"] as Data))
    }
  }

  /// What of a damaged shard differs, by its chunks; nil when they are not known
  /// or the file is gone.
  ///
  /// - Parameters:
  ///   - damage: Damage of a shard.
  ///   - isCancelled: Asked before each chunk.
  /// - Returns: The chunks of the revision, and which of them are damaged.
  /// - Throws: ``TarnError``.
  package func damagedChunks(
    of damage: Damage, isCancelled: () -> Bool = { false }
  ) throws -> (chunks: ShardChunks, damaged: [Int])? {
    guard case .shard(let id) = damage.file.kind, damage.problem != .missing, !damage.isUnreadable,
      let revision = try shard(id: id).revision,
      let chunks = try chunks(of: revision), Disk.size(of: damage.file.path) != nil
    else { return nil }
    return (chunks, try chunks.damaged(in: damage.file.path, isCancelled: isCancelled))
  }

  /// Records that the bytes of a shard were mended where they lie, and are the
  /// revision's again.
  ///
  /// - Parameters:
  ///   - shard: A shard that is present.
  ///   - chunks: What was fetched anew, for people.
  ///   - byteCount: Bytes fetched.
  /// - Throws: ``TarnError``.
  package func recordMended(_ shard: Shard, chunks: String, byteCount: Int) throws {
    try write("repaired") { database in
      if let digest = shard.revision?.digest { try LakeCatalog.markVerified(digest, in: .shards, database) }
      try database.run("UPDATE shard SET last_error = NULL WHERE id = ?", [shard.id])
      try LakeCatalog.record(
        .repaired, "\(shard.sourceName)/\(shard.name)",
        [
          "kind": .string("shard"), "sha256": .optional(shard.revision?.digest.hex),
          "damage": .string("chunks \(chunks)"), "outcome": .string(RepairOutcome.restored.rawValue),
          "fetched_bytes": .count(byteCount),
        ], database)
    }
  }
}
