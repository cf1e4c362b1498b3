// Rows of `event`, `pin`, `reproduction`, `evaluation`, `evaluation_point` and
// `evaluation_recall`: what was done and found, which never changes.

internal import Base
internal import GRDB

/// A row of `event`.
package struct Event: Sendable, Equatable {
  /// Place in the history, from 1.
  package let number: Int
  package let at: String
  package let actor: String
  package let verb: String
  package let subject: String
  /// Canonical JSON.
  package let detail: String
  /// Hash of the event before; 64 zeros for the first.
  package let previous: String
  package let hash: String
}

extension Event: FetchableRecord {
  init(row: Row) {
    number = row["seq"]
    at = row["at"]
    actor = row["actor"]
    verb = row["verb"]
    subject = row["subject"]
    detail = row["detail"]
    previous = row["prev"]
    hash = row["hash"]
  }

  /// Adds the event to the chain.
  func insert(_ database: Database) throws {
    try database.run(
      "INSERT INTO event (seq, at, actor, verb, subject, detail, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      [number, at, actor, verb, subject, detail, previous, hash])
  }
}

/// A row of `pin`.
enum PinRow {
  /// Pins a version.
  static func insert(
    of versionID: Int64, reason: String, at time: String = Timestamp.now(), _ database: Database
  ) throws {
    try database.run(
      "INSERT INTO pin (version_id, reason, created_at) VALUES (?, ?, ?)", [versionID, reason, time])
  }
}

/// A row of `reproduction`.
enum ReproductionRow {
  /// Keeps the outcome of a rebuild, and gives its number.
  static func insert(
    of versionID: Int64, startedAt: String, outcome: ReproductionOutcome, detail: String, environment: String,
    _ database: Database
  ) throws -> Int64 {
    try database.insert(
      """
      INSERT INTO reproduction (version_id, started_at, ended_at, outcome, detail, environment)
      VALUES (?, ?, ?, ?, ?, ?)
      """, [versionID, startedAt, Timestamp.now(), outcome.rawValue, detail, environment])
  }
}

extension Evaluation {
  /// Keeps the evaluation with its points, and gives its number.
  func insert(of versionID: Int64, _ database: Database) throws -> Int64 {
    let id = try database.insert(
      """
      INSERT INTO evaluation (version_id, evaluated_at, queries, queries_sha256, query_count, row_count, truth_sha256,
        threads, imbalance, list_sizes, environment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        versionID, Timestamp.now(), queries, queriesDigest.hex, queryCount, rowCount, truthDigest.hex, threads,
        imbalance, JSONValue.counts(listSizes).text, environment,
      ])
    for point in points { try point.insert(of: id, database) }
    return id
  }
}

extension EvaluationPoint {
  fileprivate func insert(of evaluationID: Int64, _ database: Database) throws {
    try database.run(
      "INSERT INTO evaluation_point (evaluation_id, nprobe, vectors_scanned, seconds) VALUES (?, ?, ?, ?)",
      [evaluationID, nprobe, vectorsScanned, seconds])
    for recall in recalls { try recall.insert(of: evaluationID, nprobe: nprobe, database) }
  }
}

extension RecallPoint {
  fileprivate func insert(of evaluationID: Int64, nprobe: Int, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO evaluation_recall (evaluation_id, nprobe, k, recall, standard_error, routing_recall)
      VALUES (?, ?, ?, ?, ?, ?)
      """, [evaluationID, nprobe, k, recall, standardError, routingRecall])
  }
}
