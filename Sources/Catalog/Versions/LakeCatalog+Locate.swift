// From row ids to the shards that their rows came from.

internal import Base
internal import GRDB

/// Where a row id of a version comes from.
package struct RowLocation: Sendable {
  package let id: Int64
  package let source: String
  package let shard: String
  package let shardOrdinal: Int
  /// Row in the shard, from 0.
  package let row: Int
  package let url: String?
  package let revision: ShardRevision?
  package let outputOrdinal: Int
  /// Whether the version was made without the row.
  package let isExcluded: Bool
}

extension LakeCatalog {
  /// Where row ids come from, asked once for all of them.
  ///
  /// - Parameters:
  ///   - ids: Row ids, as search gives them.
  ///   - version: The version that was searched.
  /// - Returns: For each id its shard and row; nil where no input covers it.
  /// - Throws: ``TarnError``.
  package func locate(_ ids: [Int64], in version: IndexVersion) throws -> [RowLocation?] {
    let asked = LakeCatalog.jsonList(of: Set(ids))
    return try read { database in
      let ordinals = try Row.fetchAll(
        database,
        sql: """
          SELECT x.value AS id, (SELECT i.ordinal FROM version_input i WHERE i.version_id = ?2 AND i.first_id <= x.value
            ORDER BY i.first_id DESC LIMIT 1) AS ordinal FROM json_each(?1) x
          """, arguments: [asked, version.id]
      ).reduce(into: [Int64: Int]()) { $0[$1["id"]] = $1["ordinal"] }
      let covering = LakeCatalog.jsonList(of: Set(ordinals.values))
      let inputs = try VersionInput.fetchAll(
        database,
        sql: VersionInput.select + " WHERE i.version_id = ? AND i.ordinal IN (SELECT value FROM json_each(?))",
        arguments: [version.id, covering]
      ).reduce(into: [Int: VersionInput]()) { $0[$1.ordinal] = $1 }
      let urls = try Row.fetchAll(
        database,
        sql: """
          SELECT i.ordinal, coalesce(
            (SELECT l.url FROM shard_location l WHERE l.shard_id = i.shard_id AND l.mirror_id = r.mirror_id),
            (SELECT l.url FROM shard_location l JOIN mirror m ON m.id = l.mirror_id WHERE l.shard_id = i.shard_id
              ORDER BY m.priority LIMIT 1)) AS url
          FROM version_input i LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
          WHERE i.version_id = ? AND i.ordinal IN (SELECT value FROM json_each(?))
          """, arguments: [version.id, covering]
      ).reduce(into: [Int: String]()) { $0[$1["ordinal"]] = $1["url"] }
      let source = try String.fetchOne(
        database, sql: "SELECT name FROM source WHERE id = ?", arguments: [version.sourceID])
      return ids.map { id in
        guard let ordinal = ordinals[id], let input = inputs[ordinal], input.ids.contains(id) else { return nil }
        let row = Int(id - input.firstID)
        return RowLocation(
          id: id, source: source ?? "", shard: input.shardName, shardOrdinal: input.shardOrdinal,
          row: row, url: urls[ordinal], revision: input.revision,
          outputOrdinal: input.outputOrdinal, isExcluded: input.excludedRows.containsAscending(row))
      }
    }
  }
}
