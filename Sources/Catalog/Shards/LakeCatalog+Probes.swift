// What mirrors said of shards without sending them: facts per shard and mirror,
// and what they come to.

internal import Base
internal import GRDB

/// What one mirror said of one shard.
package struct ProbeRecord: Sendable {
  package let shardID: Int64
  package let mirrorID: Int64
  /// Nil when nobody could tell; the fact known before stays.
  package let state: LocationState?
  package let byteCount: Int?
  /// Nil when its beginning was not asked for; the rows known before stay, if the
  /// size does.
  package let rowCount: Int?
  package let etag: String?
  package let lastModified: String?
  package let error: String?

  package init(
    shardID: Int64, mirrorID: Int64, state: LocationState?, byteCount: Int? = nil, rowCount: Int? = nil,
    etag: String? = nil, lastModified: String? = nil, error: String? = nil
  ) {
    self.rowCount = rowCount
    self.shardID = shardID
    self.mirrorID = mirrorID
    self.state = state
    self.byteCount = byteCount
    self.etag = etag
    self.lastModified = lastModified
    self.error = error
  }
}

/// What is known of one mirror of a source.
package struct MirrorCoverage: Sendable, Equatable {
  package let mirrorID: Int64
  package let priority: Int
  package let template: String
  package let provenance: String
  /// Shards the mirror has, lacks, serves wrongly, and was not heard of.
  package let presentCount: Int
  package let absentCount: Int
  package let faultyCount: Int
  package let unknownCount: Int
  /// Bytes of the shards it has, as far as it says; nil if it says so of none.
  package let byteCount: Int?
}

extension LakeCatalog {
  /// Records what mirrors said, in one transaction.
  package func recordProbes(_ probes: [ProbeRecord]) throws {
    try write("probes") { database in
      let now = Timestamp.now()
      let found = try database.makeStatement(
        sql: """
          UPDATE shard_location SET state = ?1, byte_count = ?2, etag = ?3, last_modified = ?4, last_error = ?5,
            row_count = coalesce(?6, CASE WHEN byte_count IS ?2 THEN row_count END), checked_at = ?7
          WHERE shard_id = ?8 AND mirror_id = ?9
          """)
      let failed = try database.makeStatement(
        sql: "UPDATE shard_location SET last_error = ?, checked_at = ? WHERE shard_id = ? AND mirror_id = ?")
      for probe in probes {
        if let state = probe.state {
          try found.execute(arguments: [
            state.rawValue, probe.byteCount, probe.etag, probe.lastModified, probe.error, probe.rowCount, now,
            probe.shardID, probe.mirrorID,
          ])
        } else {
          try failed.execute(arguments: [probe.error, now, probe.shardID, probe.mirrorID])
        }
      }
    }
  }

  /// What is known of each mirror of a source, first mirror first.
  package func coverage(of source: Source) throws -> [MirrorCoverage] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT m.id, m.priority, m.template, m.provenance,
            coalesce(sum(l.state = 'present'), 0) AS present, coalesce(sum(l.state = 'absent'), 0) AS absent,
            coalesce(sum(l.state = 'faulty'), 0) AS faulty, coalesce(sum(l.state = 'unknown'), 0) AS unknown,
            CASE WHEN count(CASE WHEN l.state = 'present' THEN l.byte_count END) > 0 THEN
              -- Many numbers of others: a sum of whole numbers may have no end in them.
              CAST(min(total(CASE WHEN l.state = 'present' THEN l.byte_count END), 9e18) AS INTEGER) END AS bytes
          FROM mirror m LEFT JOIN shard_location l ON l.mirror_id = m.id AND l.shard_id NOT IN
            (SELECT h.id FROM shard h WHERE h.source_id = ?1 AND h.dropped_row_count IS NOT NULL)
          WHERE m.source_id = ?1 GROUP BY m.id ORDER BY m.priority
          """, arguments: [source.filesID]
      ).map { row in
        MirrorCoverage(
          mirrorID: row["id"], priority: row["priority"], template: row["template"], provenance: row["provenance"],
          presentCount: row["present"], absentCount: row["absent"], faultyCount: row["faulty"],
          unknownCount: row["unknown"], byteCount: row["bytes"])
      }
    }
  }

  /// Shards that every mirror said it lacks, in order.
  package func shardsWithoutMirror(of source: Source) throws -> [Shard] {
    try shards(of: source, whoseLocationsAreAll: "'absent'")
  }

  /// Shards that every mirror said it lacks, refused or served wrongly, in order.
  package func shardsOfNobody(of source: Source) throws -> [Shard] {
    try shards(of: source, whoseLocationsAreAll: "'absent', 'faulty'")
  }

  private func shards(of source: Source, whoseLocationsAreAll states: String) throws -> [Shard] {
    try read { database in
      try Shard.fetchAll(
        database,
        sql: Shard.select + """
           WHERE h.source_id = ? AND h.dropped_row_count IS NULL AND NOT EXISTS
            (SELECT 1 FROM shard_location l WHERE l.shard_id = h.id AND l.state NOT IN (\(states)))
          ORDER BY h.ordinal
          """, arguments: [source.filesID])
    }
  }

  /// Whether a mirror that has a shard was asked about it: what a transfer saw that ended before the file was whole is no
  /// answer about its rows.
  private static let isAsked = """
    l.state = 'present' AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.shard_id = l.shard_id
      AND t.mirror_id = l.mirror_id AND t.outcome = 'interrupted' AND t.ended_at = l.checked_at)
    """

  /// Whether a mirror that has a shard was asked about it, and might have told its rows.
  ///
  /// - Parameter shardID: The shard.
  /// - Returns: Whether it was.
  /// - Throws: ``TarnError``.
  package func wasAskedForRows(of shardID: Int64) throws -> Bool {
    try read { database in
      try Bool.fetchOne(
        database,
        sql: "SELECT EXISTS (SELECT 1 FROM shard_location l WHERE l.shard_id = ? AND \(Self.isAsked))",
        arguments: [shardID]) ?? false
    }
  }

  /// Shards that a mirror was seen to have and that nobody has told the rows of all the same, in order.
  package func shardsWithoutRows(of source: Source) throws -> [Shard] {
    try read { database in
      try Shard.fetchAll(
        database,
        sql: Shard.select + """
           WHERE h.source_id = ? AND h.dropped_row_count IS NULL AND EXISTS
            (SELECT 1 FROM shard_location l WHERE l.shard_id = h.id AND \(Self.isAsked))
          ORDER BY h.ordinal
          """, arguments: [source.filesID]
      ).filter { $0.knownRowCount == nil }
    }
  }

  /// Shards that some mirror serves wrongly and none was seen to have, with what
  /// the first of those said, in order.
  package func shardsServedWrongly(of source: Source) throws -> [(name: String, error: String)] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT h.name, coalesce(l.last_error, 'it is faulty') AS error, min(m.priority)
          FROM shard h JOIN shard_location l ON l.shard_id = h.id AND l.state = 'faulty'
          JOIN mirror m ON m.id = l.mirror_id
          WHERE h.source_id = ? AND h.dropped_row_count IS NULL
            AND NOT EXISTS (SELECT 1 FROM shard_location o WHERE o.shard_id = h.id AND o.state IN ('present', 'unknown'))
          GROUP BY h.id ORDER BY h.ordinal
          """, arguments: [source.filesID]
      ).map { ($0["name"], $0["error"]) }
    }
  }

  /// How fast past transfers came in, in bytes a second.
  ///
  /// - Returns: Bytes over the time in which at least one of the last hundred ran;
  ///   nil without any.
  /// - Throws: ``TarnError``.
  package func observedRate() throws -> Double? {
    let row = try read { database in
      try Row.fetchOne(
        database,
        sql: """
          WITH recent AS (
            SELECT julianday(started_at) * 86400.0 AS began, julianday(ended_at) * 86400.0 AS ended,
              received_byte_count AS bytes
            FROM transfer WHERE outcome = 'complete' AND received_byte_count > 0 ORDER BY id DESC LIMIT 100
          ), marked AS (
            SELECT began, ended, bytes,
              max(ended) OVER (ORDER BY began, ended ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
            FROM recent
          )
          SELECT sum(bytes) AS bytes, sum(max(0, ended - max(began, coalesce(reached, began)))) AS seconds FROM marked
          """)
    }
    guard let row, let bytes = row["bytes"] as Int?, let seconds = row["seconds"] as Double?, seconds > 0 else {
      return nil
    }
    return Double(bytes) / seconds
  }
}
