// Rows of `shard`, `shard_location`, `shard_revision`, `shard_chunks` and
// `transfer`.

package import Base
internal import Foundation
internal import GRDB

/// A row of `shard` with its newest revision.
package struct Shard: Sendable, Identifiable {
  package let id: Int64
  package let sourceID: Int64
  package let sourceName: String
  package let ordinal: Int
  package let name: String
  package let state: ShardState
  package let expectedByteCount: Int?
  package let expectedDigest: ContentDigest?
  /// Rows that the manifest gives.
  package let expectedRowCount: Int?
  /// The newest observed revision; nil before the first fetch.
  package let revision: ShardRevision?
  /// File of its bytes below the shards directory, which shards with the same
  /// bytes share; nil unless the state vouches for them: what is half evicted goes.
  package let path: String?
  package let lastError: String?
  /// The size that every mirror says that was asked; nil if they disagree.
  package let probedByteCount: Int?
  /// Likewise the rows, as the beginning of the file says; nil also where they are
  /// known better.
  package let probedRowCount: Int?
  /// Rows that its ids stand for since it was dropped; nil while it is not.
  package let droppedRowCount: Int?

  /// Whether it was dropped: its place and its ids are kept, and nothing is made of it.
  package var isDropped: Bool { droppedRowCount != nil }

  /// The rows it has, from somebody who has seen or counted them: never from its
  /// size, as headers differ in length.
  package var knownRowCount: Int? { droppedRowCount ?? revision?.rowCount ?? expectedRowCount ?? probedRowCount }

  /// The size it will have as far as anyone knows: the manifest, the bytes
  /// fetched before, the mirrors.
  ///
  /// Only the manifest's is held against what arrives.
  package var likelyByteCount: Int? { expectedByteCount ?? revision?.byteCount ?? probedByteCount }
}

extension Shard: FetchableRecord {
  /// The rows of ``Shard``; append a WHERE and ORDER BY.
  static let select = """
    SELECT h.*, s.name AS source_name, r.revision, r.shard_id, r.sha256, r.byte_count, r.row_count, r.etag,
      r.last_modified, r.mirror_id, b.path,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) THEN min(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') AS probed_byte_count,
      CASE WHEN h.current_revision IS NULL AND h.expected_row_count IS NULL THEN
        (SELECT CASE WHEN min(l.row_count) = max(l.row_count) THEN min(l.row_count) END
          FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') END AS probed_row_count
    FROM shard h JOIN source s ON s.id = h.source_id
    LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
    LEFT JOIN stored_bytes b ON h.state = 'present' AND b.sha256 = r.sha256 AND b.place = 'shards'
    """

  init(row: Row) throws {
    id = row["id"]
    sourceID = row["source_id"]
    sourceName = row["source_name"]
    ordinal = row["ordinal"]
    name = row["name"]
    state = try row.named("state")
    expectedByteCount = row["expected_byte_count"]
    expectedDigest = try row.digest("expected_sha256")
    expectedRowCount = row["expected_row_count"]
    revision = row["current_revision"] == nil ? nil : try ShardRevision(row: row)
    path = row["path"]
    lastError = row["last_error"]
    // An older tarn believed any number.
    probedByteCount = (row["probed_byte_count"] as Int?).flatMap { ForeignNumber.byteCount.holds($0) ? $0 : nil }
    probedRowCount = row["probed_row_count"]
    droppedRowCount = row["dropped_row_count"]
  }

  /// Registers a shard with its address on each mirror, and gives its number.
  ///
  /// - Throws: ``TarnError`` `.usage` for a name that a shard cannot have (S5).
  static func insert(
    of sourceID: Int64, ordinal: Int, name: String, expectedByteCount: Int? = nil, expectedDigest: ContentDigest? = nil,
    expectedRowCount: Int? = nil, urls: [String] = [], on mirrorIDs: [Int64] = [], at time: String,
    _ database: Database
  ) throws -> Int64 {
    if let fault = LakeName.fault(ofShard: name) {
      throw TarnError(.usage, "'\(name.printable)' cannot name a shard: \(fault)")
    }
    let id = try database.insert(
      """
      INSERT INTO shard (source_id, ordinal, name, expected_byte_count, expected_sha256, expected_row_count, changed_at)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      """, [sourceID, ordinal, name, expectedByteCount, expectedDigest?.hex, expectedRowCount, time])
    for (mirrorID, url) in zip(mirrorIDs, urls) { try ShardLocation.insert(of: id, on: mirrorID, url: url, database) }
    return id
  }
}

extension Shard {
  /// Says of a shard whose bytes were observed, and are not here, that it is evicted.
  ///
  /// - Parameters:
  ///   - id: The shard; nobody fetches it.
  ///   - revision: Number of the revision that is its newest then.
  ///   - database: The connection, in a transaction.
  /// - Throws: SQLite's error.
  static func settleAsEvicted(_ id: Int64, at revision: Int, _ database: Database) throws {
    // Through fetching: no other way leads there.
    try database.run("UPDATE shard SET state = 'fetching', reserved_byte_count = 0 WHERE id = ?", [id])
    try database.run(
      "UPDATE shard SET state = 'evicted', reserved_byte_count = NULL, current_revision = ? WHERE id = ?",
      [revision, id])
  }
}

/// A row of `shard_location` joined to its mirror, in order of priority.
package struct ShardLocation: Sendable {
  package let mirrorID: Int64
  /// The mirror's number, as people are told it: 0 is asked first.
  package let priority: Int
  package let url: String
  package let state: LocationState
  /// Whether it is asked only after the others for now: it was found to lack
  /// the shard, or to serve something else, within the last day.
  package let isAskedLast: Bool
  /// Whether a document or a list brought the address.
  package let isOfDocument: Bool
}

extension ShardLocation: FetchableRecord {
  init(row: Row) throws {
    mirrorID = row["mirror_id"]
    priority = row["priority"]
    url = row["url"]
    state = try row.named("state")
    isAskedLast = row["is_asked_last"]
    isOfDocument = row["is_of_document"]
  }

  /// Says where a shard would be on a mirror.
  static func insert(of shardID: Int64, on mirrorID: Int64, url: String, _ database: Database) throws {
    try database.run(
      "INSERT INTO shard_location (shard_id, mirror_id, url) VALUES (?, ?, ?)", [shardID, mirrorID, url])
  }
}

/// A row of `shard_revision`.
package struct ShardRevision: Sendable, Hashable {
  package let shardID: Int64
  package let number: Int
  package let digest: ContentDigest
  package let byteCount: Int
  package let rowCount: Int
  package let etag: String?
  package let lastModified: String?
  package let mirrorID: Int64?
}

extension ShardRevision: FetchableRecord {
  init(row: Row) throws {
    // First: of a reference that leads nowhere every column is null.
    digest = try row.requiredDigest("sha256")
    shardID = row["shard_id"]
    number = row["revision"]
    byteCount = row["byte_count"]
    rowCount = row["row_count"]
    etag = row["etag"]
    lastModified = row["last_modified"]
    mirrorID = row["mirror_id"]
  }

  /// Records bytes that a shard was seen to have.
  func insert(trust: Trust, at time: String, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO shard_revision (shard_id, revision, sha256, byte_count, row_count, trust, mirror_id, etag,
        last_modified, observed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [shardID, number, digest.hex, byteCount, rowCount, trust.rawValue, mirrorID, etag, lastModified, time])
  }
}

/// A row of `shard_chunks`.
enum ShardChunksRow {
  /// Keeps the states of a revision that has none yet.
  static func insert(_ states: [UInt8], shardID: Int64, revision: Int, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO shard_chunks (shard_id, revision, chunk_byte_count, states)
      SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS
        (SELECT 1 FROM shard_chunks c WHERE c.shard_id = ?1 AND c.revision = ?2)
      """, [shardID, revision, ChunkHasher.chunkByteCount, Data(states)])
  }
}

/// One attempt to fetch a shard, as it ended: a row of `transfer`, and what it
/// says of the mirror.
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
  /// The command that was run, if it was one.
  package var command: CommandRunRecord?

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

  /// Keeps the attempt.
  func insert(_ database: Database) throws {
    try database.run(
      """
      INSERT INTO transfer (shard_id, mirror_id, url, started_at, ended_at, resumed_from, received_byte_count,
        http_status, outcome, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        shardID, mirrorID, url, startedAt, endedAt, resumedFrom, receivedByteCount, httpStatus, outcome.rawValue, error,
      ])
    if let command { try command.insert(of: database.lastInsertedRowID, database) }
  }
}

/// One run of a command: a row of `command_run`, and those of `command_input`.
package struct CommandRunRecord: Sendable {
  /// The command as it may be shown.
  package let command: String
  package let exitStatus: Int?
  package let signal: Int?
  package let seconds: Double
  /// The last that it printed.
  package let printed: String
  /// What it wrote, where that came into the lake.
  package let digest: ContentDigest?
  /// What it declared to read, in order.
  package let inputs: [(path: String, digest: ContentDigest, byteCount: Int)]

  package init(
    command: String, exitStatus: Int?, signal: Int?, seconds: Double, printed: String, digest: ContentDigest?,
    inputs: [(path: String, digest: ContentDigest, byteCount: Int)]
  ) {
    self.command = command
    self.exitStatus = exitStatus
    self.signal = signal
    self.seconds = seconds
    self.printed = printed
    self.digest = digest
    self.inputs = inputs
  }

  /// Keeps the run.
  fileprivate func insert(of transferID: Int64, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO command_run (transfer_id, command, exit_status, signal, seconds, printed, sha256)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      """, [transferID, command, exitStatus, signal, seconds, printed, digest?.hex])
    for (position, input) in inputs.enumerated() {
      try database.run(
        "INSERT INTO command_input (transfer_id, position, path, sha256, byte_count) VALUES (?, ?, ?, ?, ?)",
        [transferID, position, input.path, input.digest.hex, input.byteCount])
    }
  }
}
