// The life of a shard's bytes: reserved, fetched, evicted. Invariants 1, 5, 6.

package import Base
internal import GRDB

/// One attempt to fetch a shard, as it ended.
package struct TransferRecord: Sendable {
  package let shardID: Int64
  package let mirrorID: Int64?
  package let url: String
  package let startedAt: String
  package let endedAt: String
  package let resumedFrom: Int
  package let receivedByteCount: Int
  package let httpStatus: Int?
  package let outcome: TransferOutcome
  package let error: String?
  /// What the mirror was seen to have; nil when the attempt says nothing of that.
  package let seen: LocationState?
  /// The shard's size there, if that was learnt.
  package let seenByteCount: Int?

  package init(
    shardID: Int64, mirrorID: Int64?, url: String, startedAt: String, endedAt: String, resumedFrom: Int,
    receivedByteCount: Int, httpStatus: Int?, outcome: TransferOutcome, error: String?, seen: LocationState?,
    seenByteCount: Int? = nil
  ) {
    self.shardID = shardID
    self.mirrorID = mirrorID
    self.url = url
    self.startedAt = startedAt
    self.endedAt = endedAt
    self.resumedFrom = resumedFrom
    self.receivedByteCount = receivedByteCount
    self.httpStatus = httpStatus
    self.outcome = outcome
    self.error = error
    self.seen = seen
    self.seenByteCount = seenByteCount
  }
}

/// Bytes of a shard that are verified and durable under their final name.
package struct FetchedBytes: Sendable {
  package let digest: ContentDigest
  package let byteCount: Int
  package let rowCount: Int
  /// File below the shards directory.
  package let path: String
  package let mirrorID: Int64?
  package let etag: String?
  package let lastModified: String?
  /// SHA-256's state after each chunk, as a ``ChunkHasher`` gave them; nil when
  /// they are not known.
  package let states: [UInt8]?

  package init(
    digest: ContentDigest, byteCount: Int, rowCount: Int, path: String, mirrorID: Int64?, etag: String?,
    lastModified: String?, states: [UInt8]? = nil
  ) {
    self.digest = digest
    self.states = states
    self.byteCount = byteCount
    self.rowCount = rowCount
    self.path = path
    self.mirrorID = mirrorID
    self.etag = etag
    self.lastModified = lastModified
  }
}

extension LakeCatalog {
  /// Settles what a killed run left behind.
  ///
  /// Reservations go back, half-done evictions are finished. Part files stay:
  /// the next fetch resumes them.
  package func settleInterruptedShards() throws {
    try write("settle shards") { database in
      try database.execute(
        sql: """
          UPDATE shard SET reserved_byte_count = NULL, changed_at = ?1,
            state = CASE WHEN state = 'present' THEN 'present'
              WHEN current_revision IS NULL THEN 'registered' ELSE 'evicted' END
          WHERE reserved_byte_count IS NOT NULL
          """, arguments: [Timestamp.now()])
    }
    let leaving = try read {
      try Row.fetchAll(
        $0,
        sql: """
          SELECT h.id, h.path FROM source s CROSS JOIN shard h WHERE h.source_id = s.id AND h.state = 'evicting'
          """
      ).map { (id: $0["id"] as Int64, path: $0["path"] as String) }
    }
    for shard in leaving { try finishEviction(shardID: shard.id, path: shard.path) }
  }

  /// Bytes that count against the budget: held, or promised to a transfer.
  package func cachedByteCount() throws -> Int { try read { try LakeCatalog.cachedByteCount($0) } }

  private static func cachedByteCount(_ database: Database) throws -> Int {
    try Int.fetchOne(
      database,
      sql: """
        SELECT coalesce(sum(reserved_byte_count + iif(state IN ('present', 'evicting'), byte_count, 0)), 0)
        FROM shard_total
        """) ?? 0
  }

  /// Reserves room for a shard before its first byte is asked for (D5).
  ///
  /// - Parameters:
  ///   - shard: The shard to fetch, or to fetch again.
  ///   - byteCount: Bytes it will take; the expected size when it is known.
  ///   - budget: Most bytes of `shards/`; nil for no limit.
  /// - Returns: False when the budget has no room now (invariant 6).
  /// - Throws: ``TarnError`` when the shard's state does not allow a fetch.
  package func reserve(_ shard: Shard, byteCount: Int, budget: Int?) throws -> Bool {
    try write("reserve") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      guard state == .present || state.canBecome(.fetching) else {
        throw TarnError(
          .conflict, "shard \(shard.name) of \(shard.sourceName) is \(state.rawValue) and cannot be fetched")
      }
      if let budget, try LakeCatalog.cachedByteCount(database) + byteCount > budget { return false }
      try database.execute(
        sql: "UPDATE shard SET state = ?, reserved_byte_count = ?, changed_at = ? WHERE id = ?",
        arguments: [
          (state == .present ? state : .fetching).rawValue, byteCount, Timestamp.now(), shard.id,
        ])
      return true
    }
  }

  /// Records an attempt, and what it says of the mirror.
  package func recordTransfer(_ transfer: TransferRecord) throws {
    try write("transfer") { database in
      try database.execute(
        sql: """
          INSERT INTO transfer (shard_id, mirror_id, url, started_at, ended_at, resumed_from, received_byte_count,
            http_status, outcome, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          transfer.shardID, transfer.mirrorID, transfer.url, transfer.startedAt, transfer.endedAt,
          transfer.resumedFrom, transfer.receivedByteCount, transfer.httpStatus, transfer.outcome.rawValue,
          transfer.error,
        ])
      // A network that failed says nothing of what the mirror has.
      guard let mirrorID = transfer.mirrorID, transfer.seen != nil || transfer.error != nil else { return }
      try database.execute(
        sql: """
          UPDATE shard_location SET state = coalesce(?, state), byte_count = coalesce(?, byte_count), last_error = ?,
            checked_at = ? WHERE shard_id = ? AND mirror_id = ?
          """,
        arguments: [
          transfer.seen?.rawValue, transfer.seenByteCount, transfer.error, transfer.endedAt, transfer.shardID, mirrorID,
        ])
    }
  }

  /// Records verified bytes as the shard's newest revision.
  ///
  /// A digest seen before becomes current again; a new one is the next
  /// revision. The file of a replaced revision is removed after the commit.
  ///
  /// - Parameters:
  ///   - bytes: The bytes, durable under their final name (invariant 1).
  ///   - shard: The shard they belong to.
  /// - Returns: The revision's number.
  /// - Throws: ``TarnError``.
  @discardableResult
  package func recordFetched(_ bytes: FetchedBytes, of shard: Shard) throws -> Int {
    let (number, replaced) = try write("fetched") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      precondition(state.canBecome(.present), "a \(state.rawValue) shard cannot become present")
      let oldPath = try String.fetchOne(database, sql: "SELECT path FROM shard WHERE id = ?", arguments: [shard.id])
      let known = try Int.fetchOne(
        database, sql: "SELECT revision FROM shard_revision WHERE shard_id = ? AND sha256 = ?",
        arguments: [shard.id, bytes.digest.hex])
      let number = try known ?? LakeCatalog.addRevision(bytes, of: shard, database)
      if let states = bytes.states {
        try LakeCatalog.keepStates(states, shardID: shard.id, revision: number, database)
      }
      try database.execute(
        sql: """
          UPDATE shard SET state = 'present', current_revision = ?1, path = ?2, reserved_byte_count = NULL,
            last_error = NULL, changed_at = ?4, verified_at = ?4 WHERE id = ?3
          """, arguments: [number, bytes.path, shard.id, Timestamp.now()])
      // What the transfer's own record says, should that not have been kept.
      try database.execute(
        sql: """
          UPDATE shard_location SET state = 'present', checked_at = ?
          WHERE shard_id = ? AND mirror_id = ? AND state = 'unknown'
          """, arguments: [Timestamp.now(), shard.id, bytes.mirrorID])
      try LakeCatalog.record(
        .fetched, "\(shard.sourceName)/\(shard.name)",
        [
          "revision": .count(number), "sha256": .string(bytes.digest.hex), "bytes": .count(bytes.byteCount),
          "new": .bool(known == nil),
        ], database)
      return (number, oldPath == bytes.path ? nil : oldPath)
    }
    if let replaced { try Disk.remove(layout.shards + "/" + replaced) }
    return number
  }

  private static func addRevision(_ bytes: FetchedBytes, of shard: Shard, _ database: Database) throws -> Int {
    let last = try Int.fetchOne(
      database, sql: "SELECT max(revision) FROM shard_revision WHERE shard_id = ?", arguments: [shard.id])
    let number = (last ?? 0) + 1
    let trust: Trust = shard.expectedDigest == bytes.digest ? .manifest : .firstUse
    try database.execute(
      sql: """
        INSERT INTO shard_revision (shard_id, revision, sha256, byte_count, row_count, trust, mirror_id, etag,
          last_modified, observed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        shard.id, number, bytes.digest.hex, bytes.byteCount, bytes.rowCount, trust.rawValue, bytes.mirrorID,
        bytes.etag, bytes.lastModified, Timestamp.now(),
      ])
    return number
  }

  /// Ends a fetch that brought no new bytes.
  ///
  /// - Parameters:
  ///   - shardID: The shard.
  ///   - next: `.absent` or `.failed`; nil when it was interrupted or found
  ///     unchanged. A shard that holds bytes keeps them and stays `present`.
  ///   - error: Why, for people; nil clears the last error.
  /// - Throws: ``TarnError``.
  package func endFetch(shardID: Int64, as next: ShardState?, error: String?) throws {
    try write("end fetch") { database in
      let row = try Row.fetchOne(
        database, sql: "SELECT state, current_revision FROM shard WHERE id = ?", arguments: [shardID])
      guard let row else { throw TarnError(.notFound, "there is no shard number \(shardID)") }
      let state: ShardState = try row.named("state")
      let hasRevision = row["current_revision"] as Int? != nil
      let settled: ShardState = state == .present ? .present : next ?? (hasRevision ? .evicted : .registered)
      precondition(state.canBecome(settled), "a \(state.rawValue) shard cannot become \(settled.rawValue)")
      try database.execute(
        sql: "UPDATE shard SET state = ?, reserved_byte_count = NULL, last_error = ?, changed_at = ? WHERE id = ?",
        arguments: [settled.rawValue, error, Timestamp.now(), shardID])
    }
  }

  /// Gives a shard's room back: the row says so first, then the bytes go.
  ///
  /// - Parameters:
  ///   - shard: A shard that is present.
  ///   - reason: Why, for the history; nil when its room is wanted.
  /// - Throws: ``TarnError``.
  package func evict(_ shard: Shard, because reason: String? = nil) throws {
    guard let path = shard.path else { return }
    try write("evicting") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      guard state == .present else {
        throw TarnError(.conflict, "shard \(shard.name) of \(shard.sourceName) is \(state.rawValue), not present")
      }
      try database.execute(
        sql: "UPDATE shard SET state = 'evicting', changed_at = ? WHERE id = ?", arguments: [Timestamp.now(), shard.id])
      try LakeCatalog.record(
        .evicted, "\(shard.sourceName)/\(shard.name)", reason.map { ["reason": .string($0)] } ?? [:], database)
    }
    try finishEviction(shardID: shard.id, path: path)
  }

  private func finishEviction(shardID: Int64, path: String) throws {
    try Disk.remove(layout.shards + "/" + path)
    try write("evicted") { database in
      try database.execute(
        sql: "UPDATE shard SET state = 'evicted', path = NULL, changed_at = ? WHERE id = ? AND state = 'evicting'",
        arguments: [Timestamp.now(), shardID])
    }
  }

  private static func state(of shardID: Int64, _ database: Database) throws -> ShardState {
    let row = try Row.fetchOne(database, sql: "SELECT state FROM shard WHERE id = ?", arguments: [shardID])
    guard let row else { throw TarnError(.notFound, "there is no shard number \(shardID)") }
    return try row.named("state")
  }
}
