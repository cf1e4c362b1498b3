// What `doctor` says of trainings and builds that are not finished: that their
// command goes on with them, or why it cannot.

internal import Base
internal import GRDB

extension LakeExamination {
  /// A training or a build that is not finished.
  private struct Unfinished {
    /// As people call it.
    let subject: String
    /// `NAME`, or `NAME@N`.
    let name: String
    let verb: String
    /// Inputs that have other bytes than it was begun with, as text; nil for none.
    let changed: String?
    /// Inputs that no mirror gave and that it needs, as text, and the source of one.
    let lost: (shards: String, source: String)?

    init(_ row: Row, _ verb: String, subject: String = "") {
      func text(_ column: String) -> String? {
        let count = row["\(column)_count"] as Int? ?? 0
        guard count > 0, let shard = row[column] as String? else { return nil }
        return count == 1 ? shard : "\(shard) and \(count - 1) more"
      }
      name = row["name"]
      self.subject = subject + name
      self.verb = verb
      changed = text("changed")
      lost = text("lost").map { ($0, String(($0).prefix { $0 != "/" })) }
    }
  }

  /// A finding for each training and build that is not finished.
  func unfinished() throws -> [Finding] {
    try catalog.read { try Self.trainings($0) + Self.builds($0) }.map { work in
      let end = "`tarn abandon \(work.name)` gives it up"
      if let changed = work.changed {
        return Finding(
          .warning, "unfinished",
          "\(work.subject) cannot be finished: \(changed) has other bytes than it was begun with", fix: end)
      }
      if let lost = work.lost {
        return Finding(
          .warning, "unfinished",
          "\(work.subject) cannot go on: \(lost.shards) is not in the lake and no mirror gave it",
          fix: "`tarn sync \(lost.source)` asks again, \(end)")
      }
      return Finding(
        .note, "unfinished", "\(work.subject) is unfinished", fix: "its `tarn \(work.verb)` continues it, \(end)")
    }
  }

  /// What an input that was fixed has against it, by the state of its shard.
  private static let faults = """
    sum(x.is_changed) AS changed_count, max(iif(x.is_changed, x.shard, NULL)) AS changed,
    sum(x.is_lost) AS lost_count, max(iif(x.is_lost, x.shard, NULL)) AS lost
    """

  private static func trainings(_ database: Database) throws -> [Unfinished] {
    try Row.fetchAll(
      database,
      sql: """
        SELECT t.name, \(faults) FROM trained_index t LEFT JOIN
          (SELECT i.trained_index_id AS id, s.name || '/' || h.name AS shard,
            h.current_revision IS NOT i.revision AS is_changed,
            h.current_revision IS i.revision AND h.state IN ('absent', 'failed') AS is_lost
          FROM trained_input i JOIN shard h ON h.id = i.shard_id JOIN source s ON s.id = h.source_id) x ON x.id = t.id
        WHERE t.state = 'training' GROUP BY t.id ORDER BY t.id
        """
    ).map { Unfinished($0, "train", subject: "the trained index ") }
  }

  // Other bytes make another version, whatever was recorded of the old ones. An input
  // is lost only where its bytes are needed: its output is not recorded, and no segment
  // of it is in the lake.
  private static func builds(_ database: Database) throws -> [Unfinished] {
    try Row.fetchAll(
      database,
      sql: """
        SELECT v.name || '@' || v.number AS name, \(faults) FROM index_version v LEFT JOIN
          (SELECT i.version_id AS id, s.name || '/' || h.name AS shard,
            i.revision IS NOT NULL AND h.current_revision IS NOT i.revision AS is_changed,
            h.state IN ('absent', 'failed') AND (i.revision IS NOT NULL OR w.missing_policy = 'fail')
              AND NOT EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = w.id AND o.ordinal = i.output_ordinal)
              AND NOT EXISTS (SELECT 1 FROM shard_revision r
                JOIN segment g ON g.trained_sha256 = t.sha256 AND g.shard_sha256 = r.sha256
                  AND g.array_name = coalesce(a.array_name, '') AND g.bad_rows_policy = w.bad_rows_policy
                JOIN stored_bytes b ON b.sha256 = g.sha256 AND b.place = 'artifacts' AND b.state = 'present'
                WHERE r.shard_id = i.shard_id AND r.revision = h.current_revision) AS is_lost
          FROM index_version w JOIN version_input i ON i.version_id = w.id JOIN shard h ON h.id = i.shard_id
          JOIN source s ON s.id = h.source_id JOIN trained_index t ON t.id = w.trained_index_id
          JOIN source a ON a.id = w.source_id
          WHERE w.state IN ('planned', 'building') AND i.is_hole = 0) x ON x.id = v.id
        WHERE v.state IN ('planned', 'building') GROUP BY v.id ORDER BY v.id
        """
    ).map { Unfinished($0, "build") }
  }
}
