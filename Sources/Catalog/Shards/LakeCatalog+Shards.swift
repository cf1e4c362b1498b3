// The life of a shard's bytes: reserved, fetched, evicted. Invariants 1, 5, 6.

package import Base
internal import Foundation
internal import GRDB

/// Bytes of a shard that are verified and durable under their final name.
package struct FetchedBytes: Sendable {
  package let digest: ContentDigest
  package let byteCount: Int
  package let rowCount: Int
  /// File below the shards directory; the catalog moves it to where such bytes
  /// are kept.
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

/// A file of a shard that is to go and stays, as this user may not remove it.
package struct StuckFile: Sendable {
  /// Absolute.
  package let path: String
  package let refusal: TarnError
}

extension LakeCatalog {
  /// Settles what a killed run left behind.
  ///
  /// Reservations go back, but for those of sources that another process fetches (D14);
  /// half-done evictions are finished. Part files stay: the next fetch resumes them.
  ///
  /// - Returns: Files that stay: their shards are `evicting` until somebody may remove them.
  /// - Throws: ``TarnError``.
  @discardableResult
  package func settleInterruptedShards() throws -> [StuckFile] {
    try write("settle shards") { _ = try settle(besides: [], $0) }
    return try removeUnneededBytes() + removeDuplicates()
  }

  /// Gives reservations back that nobody has any more.
  ///
  /// - Parameters:
  ///   - own: Sources whose reservations are this run's.
  ///   - database: The connection, in a transaction: no lease comes or goes meanwhile
  ///     that a reservation could be made under.
  /// - Returns: How many there were.
  /// - Throws: SQLite's error.
  private func settle(besides own: [String], _ database: Database) throws -> Int {
    let live = Array(session?.held(.source, against: .add) ?? []) + own
    let marks = live.map { _ in "?" }.joined(separator: ", ")
    try database.execute(
      sql: """
        UPDATE shard SET reserved_byte_count = NULL, changed_at = ?,
          state = CASE WHEN state = 'present' THEN 'present'
            WHEN current_revision IS NULL THEN 'registered' ELSE 'evicted' END
        WHERE id IN (SELECT id FROM shard WHERE reserved_byte_count IS NOT NULL)
          AND source_id NOT IN (SELECT id FROM source WHERE name IN (\(marks)))
        """, arguments: StatementArguments([Timestamp.now()] + live))
    return database.changesCount
  }

  /// Removes the files that no shard needs any more: the rows say so, then the
  /// bytes go, then the rows say that they are gone.
  ///
  /// A file is removed in the transaction that has seen its row, so that it
  /// cannot be one that came back meanwhile. One that this user may not remove keeps
  /// no other from going: its rows stay as they are.
  ///
  /// - Returns: The files that stay.
  /// - Throws: ``TarnError``.
  @discardableResult
  func removeUnneededBytes() throws -> [StuckFile] {
    let isAny = try read { database in
      try Bool.fetchOne(
        database,
        sql: """
          SELECT EXISTS (SELECT 1 FROM stored_bytes WHERE state = 'deleting' AND kind = 'shard')
            OR EXISTS (SELECT 1 FROM source s CROSS JOIN shard h WHERE h.source_id = s.id AND h.state = 'evicting')
          """)
    }
    guard isAny == true else { return [] }
    let layout = layout
    return try write("evicted") { database in
      let leaving = try StoredBytes.fetchAll(
        database, sql: "SELECT * FROM stored_bytes WHERE state = 'deleting' AND kind = 'shard'")
      var gone: [StoredBytes] = []
      var stuck: [StuckFile] = []
      for bytes in leaving {
        let path = layout.path(bytes.path, in: .shards)
        if let refusal = try Disk.removeIfPermitted(path) {
          stuck.append(StuckFile(path: path, refusal: refusal))
        } else {
          gone.append(bytes)
        }
      }
      // Durably gone before a row says so: the catalog may be on another file system.
      for directory in Set(gone.map { layout.path($0.path, in: .shards).parentPath }).sorted()
      where Disk.isDirectory(directory) { try Disk.syncDirectory(directory) }
      for bytes in gone {
        try database.run(
          "UPDATE stored_bytes SET state = 'deleted' WHERE sha256 = ? AND place = 'shards'", [bytes.digest.hex])
      }
      try database.execute(
        sql: """
          UPDATE shard SET state = 'evicted', changed_at = ? WHERE id IN
            (SELECT h.id FROM source s CROSS JOIN shard h WHERE h.source_id = s.id AND h.state = 'evicting'
              AND NOT EXISTS (SELECT 1 FROM shard_revision r JOIN stored_bytes b ON b.sha256 = r.sha256
                WHERE r.shard_id = h.id AND r.revision = h.current_revision AND b.place = 'shards'
                  AND b.state = 'deleting'))
          """, arguments: [Timestamp.now()])
      return stuck
    }
  }

  /// Removes the files that a migration found to hold what another one holds.
  ///
  /// - Returns: The files that stay.
  private func removeDuplicates() throws -> [StuckFile] {
    let layout = layout
    let paths = try read { try String.fetchAll($0, sql: "SELECT path FROM duplicate_file WHERE place = 'shards'") }
    var stuck: [StuckFile] = []
    for path in paths {
      try write("duplicate") { database in
        let isStored = try Bool.fetchOne(
          database, sql: "SELECT EXISTS (SELECT 1 FROM stored_bytes WHERE place = 'shards' AND path = ?)",
          arguments: [path])
        let file = layout.path(path, in: .shards)
        if isStored != true, let refusal = try Disk.removeIfPermitted(file) {
          stuck.append(StuckFile(path: file, refusal: refusal))
          return
        }
        try database.execute(
          sql: "DELETE FROM duplicate_file WHERE place = 'shards' AND path = ?", arguments: [path])
      }
    }
    return stuck
  }

  /// Removes bytes that were just given up, with all else that is to go.
  ///
  /// - Parameter path: Their file below the shards directory.
  /// - Throws: ``TarnError``; `.io` where it is this file that stays.
  func remove(givenUp path: String) throws {
    let file = layout.path(path, in: .shards)
    if let stuck = try removeUnneededBytes().first(where: { $0.path == file }) { throw stuck.refusal }
  }

  /// Bytes that count against the budget: held, each file once, promised to a
  /// transfer, or left by one.
  package func cachedByteCount() throws -> Int {
    let covered = try read { database in
      Set(try Int64.fetchAll(database, sql: "SELECT id FROM shard WHERE reserved_byte_count IS NOT NULL"))
    }
    let parts = try interruptedTransfers().reduce(0) { $0 + (covered.contains($1.shardID) ? 0 : $1.byteCount) }
    return try read { try LakeCatalog.cachedByteCount($0) } + parts
  }

  /// Bytes of the files of shards, each once.
  package func storedShardByteCount() throws -> Int {
    try read { try Int.fetchOne($0, sql: "SELECT byte_count FROM stored_total WHERE kind = 'shard'") } ?? 0
  }

  private static func cachedByteCount(_ database: Database) throws -> Int {
    try Int.fetchOne(
      database,
      sql: """
        SELECT coalesce((SELECT sum(reserved_byte_count) FROM shard_total), 0)
          + (SELECT byte_count FROM stored_total WHERE kind = 'shard')
        """) ?? 0
  }

  /// Reserves room for a shard before its first byte is asked for (D5).
  ///
  /// - Parameters:
  ///   - shard: The shard to fetch, or to fetch again.
  ///   - byteCount: Bytes it will take; the expected size when it is known.
  ///   - budget: Most bytes of `shards/`; nil for no limit.
  /// - Returns: False when the budget has no room now (invariant 6).
  /// - Throws: ``TarnError`` when the shard's state does not allow a fetch; `.locked`
  ///   where this command has the source for less.
  package func reserve(_ shard: Shard, byteCount: Int, budget: Int?) throws -> Bool {
    guard let session, session.mayFetch(shard.sourceName) else { throw TarnError.beyondLease(shard) }
    let isReserved = try write("reserve") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      if try LakeCatalog.isDropped(shard.id, database) { throw TarnError.dropped(shard) }
      guard state == .present || state.canBecome(.fetching) else {
        throw TarnError(
          .conflict, "shard \(shard.name) of \(shard.sourceName) is \(state.rawValue) and cannot be fetched",
          hint: state == .evicting ? "its file could not be removed; `tarn doctor` says why" : nil)
      }
      if let budget {
        func isTooMuch() throws -> Bool {
          let parked = try parkedByteCount(besides: shard.id, session, database)
          return try [LakeCatalog.cachedByteCount(database), parked, byteCount].saturatedSum > budget
        }
        if try isTooMuch() {
          // What a process had reserved that died meanwhile is free again.
          let own = try String.fetchAll(database, sql: "SELECT name FROM source").filter(session.mayFetch)
          guard try settle(besides: own, database) > 0, try !isTooMuch() else { return false }
        }
      }
      try database.execute(
        sql: "UPDATE shard SET state = ?, reserved_byte_count = ?, changed_at = ? WHERE id = ?",
        arguments: [
          (state == .present ? state : .fetching).rawValue, byteCount, Timestamp.now(), shard.id,
        ])
      return true
    }
    if isReserved { coverPart(of: shard.id) }
    return isReserved
  }

  /// Records an attempt, and what it says of the mirror.
  package func recordTransfer(_ transfer: TransferRecord) throws {
    try write("transfer") { database in
      try transfer.insert(database)
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

  /// Keeps that a mirror gave other bytes than a shard has, which were refused as something rests on those: the others
  /// are asked before it from now on, and it is no place that has those bytes (R12).
  ///
  /// - Parameters:
  ///   - digest: The bytes that it gave.
  ///   - shardID: The shard.
  ///   - mirrorID: The mirror.
  /// - Throws: ``TarnError``.
  package func recordRefused(_ digest: ContentDigest, of shardID: Int64, from mirrorID: Int64) throws {
    try write("refused") { database in
      try database.run(
        """
        UPDATE shard_location SET state = 'faulty', last_error = ?, checked_at = ?
        WHERE shard_id = ? AND mirror_id = ?
        """,
        ["it gives other bytes, SHA-256 \(digest.prefix(12))…", Timestamp.now(), shardID, mirrorID])
    }
  }

  /// Records verified bytes as the shard's newest revision.
  ///
  /// A digest seen before becomes current again; a new one is the next
  /// revision. Bytes that the lake holds already stay in the one file they have.
  /// The file of a replaced revision is removed after the commit, unless another
  /// shard needs it or it is to be kept.
  ///
  /// - Parameters:
  ///   - bytes: The bytes, durable in a file of their own (invariant 1).
  ///   - shard: The shard they belong to.
  ///   - replacement: What becomes of other bytes that it has.
  /// - Returns: The revision's number.
  /// - Throws: ``TarnError`` `.conflict` when something rests on those; then nothing
  ///   has changed, and the new bytes are the caller's to remove (``keepingNoOrphan(_:in:_:)``).
  @discardableResult
  package func recordFetched(
    _ bytes: FetchedBytes, of shard: Shard, replacing replacement: Replacement = .always
  ) throws -> Int {
    let layout = layout
    let number = try write("fetched") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      precondition(state.canBecome(.present), "a \(state.rawValue) shard cannot become present")
      let now = Timestamp.now()
      let replaced = state == .present ? try LakeCatalog.currentRevision(of: shard.id, database) : nil
      let isOther = replaced.map { $0.digest != bytes.digest } ?? false
      if let replaced, isOther, case .ofUnpinned = replacement {
        try LakeCatalog.requireUnpinned(shard, revision: replaced.number, database)
      }
      let known = try Int.fetchOne(
        database, sql: "SELECT revision FROM shard_revision WHERE shard_id = ? AND sha256 = ?",
        arguments: [shard.id, bytes.digest.hex])
      let home = try StoredBytes.find(bytes.digest, in: .shards, database)?.path ?? bytes.path
      if home != bytes.path {
        let final = layout.path(home, in: .shards)
        try Disk.makeDirectory(final.parentPath)
        try Disk.moveIntoPlace(layout.path(bytes.path, in: .shards), final)
      }
      // Another command may have removed bytes of this digest since these were put in their place.
      guard Disk.size(of: layout.path(home, in: .shards)) == bytes.byteCount else {
        throw TarnError(
          .conflict, "\(shard.name) of \(shard.sourceName) was removed by another command as it arrived",
          hint: "run the same command again")
      }
      try StoredBytes.insert(
        bytes.digest, .shard, byteCount: bytes.byteCount, path: home, verifiedAt: now, database)
      let number = try known ?? LakeCatalog.addRevision(bytes, of: shard, at: now, database)
      if let states = bytes.states {
        try ShardChunksRow.insert(states, shardID: shard.id, revision: number, database)
      }
      try database.run(
        """
        UPDATE shard SET state = 'present', current_revision = ?, reserved_byte_count = NULL, last_error = NULL,
          changed_at = ? WHERE id = ?
        """, [number, now, shard.id])
      if let replaced, isOther {
        if case .keepingOld = replacement {
          try LakeCatalog.keep(replaced.digest, database)
        } else {
          try LakeCatalog.keepAsOlder(replaced.digest, besides: shard.id, database)
        }
      }
      // What the transfer's own record says, should that not have been kept.
      try database.run(
        """
        UPDATE shard_location SET state = 'present', checked_at = ?
        WHERE shard_id = ? AND mirror_id = ? AND state = 'unknown'
        """, [now, shard.id, bytes.mirrorID])
      try LakeCatalog.record(
        .fetched, "\(shard.sourceName)/\(shard.name)",
        [
          "revision": .count(number), "sha256": .string(bytes.digest.hex), "bytes": .count(bytes.byteCount),
          "new": .bool(known == nil),
        ], database)
      _ = try LakeCatalog.bindCompanions(shard: shard.id, database)
      return number
    }
    try removeUnneededBytes()
    return number
  }

  private static func currentRevision(of shardID: Int64, _ database: Database) throws -> ShardRevision? {
    try ShardRevision.fetchOne(
      database,
      sql: """
        SELECT r.* FROM shard h JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
        WHERE h.id = ?
        """, arguments: [shardID])
  }

  private static func addRevision(
    _ bytes: FetchedBytes, of shard: Shard, at time: String, _ database: Database
  ) throws -> Int {
    let last = try Int.fetchOne(
      database, sql: "SELECT max(revision) FROM shard_revision WHERE shard_id = ?", arguments: [shard.id])
    let revision = ShardRevision(
      shardID: shard.id, number: (last ?? 0) + 1, digest: bytes.digest, byteCount: bytes.byteCount,
      rowCount: bytes.rowCount, etag: bytes.etag, lastModified: bytes.lastModified, mirrorID: bytes.mirrorID)
    try revision.insert(trust: shard.expectedDigest == bytes.digest ? .manifest : .firstUse, at: time, database)
    return revision.number
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
    try uncoverPart(of: shardID)
  }

  /// Keeps why shards could not be had, those among them that nobody was asked for.
  ///
  /// - Parameter errors: For people, by the shard's number.
  /// - Throws: ``TarnError``.
  package func noteErrors(_ errors: [Int64: String]) throws {
    guard !errors.isEmpty else { return }
    try write("errors") { database in
      let statement = try database.makeStatement(
        sql: "UPDATE shard SET last_error = ?1 WHERE id = ?2 AND last_error IS NOT ?1 AND dropped_row_count IS NULL")
      for (shardID, error) in errors { try statement.execute(arguments: [error, shardID]) }
    }
  }

  /// Lets go of a shard's bytes: the row says so first, then the bytes go, unless
  /// another shard needs them, or something rests on them as an older revision of one.
  ///
  /// - Parameters:
  ///   - shard: A shard that is present.
  ///   - reason: Why, for the history; nil when its room is wanted.
  ///   - isDamaged: Whether the bytes are not what they should be, and of use to nobody.
  /// - Throws: ``TarnError``; `.io` where this user may not remove the file, and nothing
  ///   has changed as far as its directory told so.
  package func evict(_ shard: Shard, because reason: String? = nil, isDamaged: Bool = false) throws {
    guard let path = shard.path, let digest = shard.revision?.digest else { return }
    guard session?.mayEvict(shard.sourceName) == true else { throw TarnError.beyondLease(shard) }
    // A row that says `evicting` has no way back.
    if let refusal = Disk.refusalToRemove(layout.path(path, in: .shards)), try shards(holding: digest).count <= 1 {
      throw refusal
    }
    try write("evicting") { database in
      let state: ShardState = try LakeCatalog.state(of: shard.id, database)
      guard state == .present else {
        throw TarnError(.conflict, "shard \(shard.name) of \(shard.sourceName) is \(state.rawValue), not present")
      }
      let held = try LakeCatalog.currentRevision(of: shard.id, database)
      try database.execute(
        sql: "UPDATE shard SET state = 'evicting', changed_at = ? WHERE id = ?",
        arguments: [Timestamp.now(), shard.id])
      if let held, !isDamaged { try LakeCatalog.keepAsOlder(held.digest, besides: shard.id, database) }
      try LakeCatalog.record(
        .evicted, "\(shard.sourceName)/\(shard.name)", reason.map { ["reason": .string($0)] } ?? [:], database)
    }
    try remove(givenUp: path)
  }

  /// The shards that need bytes of a digest, by number.
  package func shards(holding digest: ContentDigest) throws -> [Shard] {
    try read {
      try Shard.fetchAll(
        $0, sql: Shard.select + " WHERE h.state = 'present' AND r.sha256 = ? ORDER BY h.id", arguments: [digest.hex])
    }
  }

  private static func isDropped(_ shardID: Int64, _ database: Database) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT dropped_row_count IS NOT NULL FROM shard WHERE id = ?", arguments: [shardID]) ?? false
  }

  private static func state(of shardID: Int64, _ database: Database) throws -> ShardState {
    let row = try Row.fetchOne(database, sql: "SELECT state FROM shard WHERE id = ?", arguments: [shardID])
    guard let row else { throw TarnError(.notFound, "there is no shard number \(shardID)") }
    return try row.named("state")
  }
}

extension TarnError {
  /// The error that a command would change bytes of a source that it has for reading alone.
  ///
  /// What it needs is chosen by what is there at the grant; somebody took a file away since,
  /// or cut it.
  fileprivate static func beyondLease(_ shard: Shard) -> TarnError {
    TarnError(
      .locked, "the file of \(shard.name) of \(shard.sourceName) was changed or removed since this command began",
      hint: "run the same command again")
  }
}
