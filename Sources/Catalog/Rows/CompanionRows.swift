// Rows of `version_companion` and `pack`.

package import Base
internal import GRDB

/// Which bytes of a companion's shard say what some rows of a version are.
package struct BoundCompanion: Sendable, Equatable {
  /// The companion.
  package let source: String
  package let shard: String
  package let ordinal: Int
  package let digest: ContentDigest
  package let rowCount: Int
  /// File below the shards directory, while the bytes are in the lake.
  package let path: String?
  /// Whether the shard has no later revision.
  package let isNewest: Bool
}

extension BoundCompanion: FetchableRecord {
  init(row: Row) throws {
    source = row["source"]
    shard = row["shard"]
    ordinal = row["ordinal"]
    digest = try row.requiredDigest("sha256")
    rowCount = row["row_count"]
    path = row["path"]
    isNewest = row["is_newest"]
  }
}

/// A pack of a companion's shard.
package struct Pack: Sendable, Equatable {
  package let companion: ContentDigest
  package let digest: ContentDigest
  package let rowCount: Int
  /// The columns that were asked for; nil for all.
  package let columns: [String]?
  /// Rows of which it says nothing, ascending.
  package let without: [Int]
  /// Its format.
  package let formatVersion: Int

  package init(
    companion: ContentDigest, digest: ContentDigest, rowCount: Int, columns: [String]?, without: [Int] = [],
    formatVersion: Int
  ) {
    self.formatVersion = formatVersion
    self.companion = companion
    self.digest = digest
    self.rowCount = rowCount
    self.columns = columns
    self.without = without
  }

  /// Columns as `columns` has them.
  static func text(of columns: [String]?) -> String {
    guard let columns else { return "" }
    return JSONValue.strings(Set(columns).sorted()).text
  }

  /// Records it; its bytes have a row.
  func insert(_ database: Database) throws {
    try database.run(
      """
      INSERT INTO pack (companion_sha256, format_version, columns, without_rows, sha256, row_count, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      """,
      [
        companion.hex, formatVersion, Pack.text(of: columns), ExcludedRows.text(without) ?? "", digest.hex, rowCount,
        Timestamp.now(),
      ])
  }

  /// Binds a revision to a version, in the order in which revisions came.
  static func bind(version: Int64, shard: Int64, revision: Int, at time: String, _ database: Database) throws {
    try database.run(
      "INSERT INTO version_companion (version_id, shard_id, revision, bound_at) VALUES (?, ?, ?, ?)",
      [version, shard, revision, time])
  }
}

extension Pack: FetchableRecord {
  init(row: Row) throws {
    companion = try row.requiredDigest("companion_sha256")
    digest = try row.requiredDigest("sha256")
    rowCount = row["row_count"]
    let text: String = row["columns"]
    columns = text.isEmpty ? nil : JSONValue(parsing: text)?.elements.compactMap(\.string)
    let rows: String = row["without_rows"]
    without = try ExcludedRows.parse(rows.isEmpty ? nil : rows, "without_rows")
    formatVersion = row["format_version"]
  }
}
