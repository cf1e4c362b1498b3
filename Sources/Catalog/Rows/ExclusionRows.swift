// Rows of `exclusion_list` and `exclusion_row`, and of rules: `exclusion_rule`,
// `exclusion_value` and `exclusion_scan`.

internal import Base
internal import GRDB

/// A row of `exclusion_row`, and the list that it is on.
enum ExclusionRow {
  /// Adds a list, without its rows; of a rule where one found them.
  static func insertList(
    of sourceID: Int64, number: Int, _ kind: ExclusionKind, reason: String, rowCount: Int, digest: ContentDigest,
    rule: Int64?, _ database: Database
  ) throws -> Int64 {
    try database.insert(
      """
      INSERT INTO exclusion_list (source_id, number, kind, reason, row_count, sha256, created_at, rule_id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      """, [sourceID, number, kind.rawValue, reason, rowCount, digest.hex, Timestamp.now(), rule])
  }

  /// Puts a row of a shard's bytes on a list, with the digest of the value that a rule found.
  static func insert(
    _ row: Int, of revision: ShardRevision, list: Int64, value: ContentDigest?, _ database: Database
  ) throws {
    try database.run(
      "INSERT INTO exclusion_row (shard_id, revision, row, list_id, value_sha256) VALUES (?, ?, ?, ?, ?)",
      [revision.shardID, revision.number, row, list, value?.hex])
  }

  /// Adds a rule with its values.
  static func insertRule(
    of sourceID: Int64, number: Int, _ kind: ExclusionKind, companion: Int64, column: String, reason: String,
    values: [ContentDigest], digest: ContentDigest, _ database: Database
  ) throws -> Int64 {
    let id = try database.insert(
      """
      INSERT INTO exclusion_rule
        (source_id, number, kind, companion_id, column_name, reason, value_count, sha256, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [sourceID, number, kind.rawValue, companion, column, reason, values.count, digest.hex, Timestamp.now()])
    for value in values {
      try database.run("INSERT INTO exclusion_value (rule_id, sha256) VALUES (?, ?)", [id, value.hex])
    }
    return id
  }

  /// Notes that a shard's bytes were held against a rule.
  static func insertScan(
    rule: Int64, of revision: ShardRevision, by companion: ShardRevision, _ database: Database
  ) throws {
    try database.run(
      """
      INSERT INTO exclusion_scan (rule_id, shard_id, revision, companion_shard_id, companion_revision)
      VALUES (?, ?, ?, ?, ?)
      """, [rule, revision.shardID, revision.number, companion.shardID, companion.number])
  }
}
