// The totals that triggers keep against what there is to count:
// the definition of each, a comparison, and a new count.

internal import GRDB

/// A table of totals and the query that counts the same.
package struct TotalsTable: Sendable {
  package let name: String
  /// Columns that say what a row is about.
  package let keys: [String]
  /// Columns that are counted.
  package let counts: [String]
  /// Gives every row that the table must have: keys, then counts.
  package let truth: String

  /// Statements that count again what the table holds; rows are corrected and
  /// those that are missing made, for the schema lets none go.
  package var recount: [String] {
    let columns = (keys + counts).joined(separator: ", ")
    let isSame = keys.map { "\(name).\($0) = truth.\($0)" }.joined(separator: " AND ")
    let truth = "truth (\(columns)) AS MATERIALIZED (\(truth))"
    return [
      """
      WITH \(truth) INSERT INTO \(name) (\(columns)) SELECT * FROM truth
      WHERE NOT EXISTS (SELECT 1 FROM \(name) WHERE \(isSame))
      """,
      """
      WITH \(truth) UPDATE \(name) SET \(counts.map { "\($0) = truth.\($0)" }.joined(separator: ", "))
      FROM truth WHERE \(isSame)
      """,
    ]
  }

  /// Every table of totals.
  package static let all: [TotalsTable] = [
    TotalsTable(
      name: "shard_total", keys: ["source_id", "state"],
      counts: ["shard_count", "row_count", "byte_count", "known_byte_count", "reserved_byte_count"],
      truth: """
        SELECT s.id, x.column1, coalesce(c.shards, 0), coalesce(c.rows, 0), coalesce(c.bytes, 0), coalesce(c.known, 0),
          coalesce(c.reserved, 0)
        FROM source s
        CROSS JOIN (VALUES ('registered'), ('fetching'), ('present'), ('evicting'), ('evicted'), ('absent'), ('failed')) x
        LEFT JOIN (
          SELECT h.source_id, h.state, count(*) AS shards, sum(r.row_count) AS rows, sum(r.byte_count) AS bytes,
            sum(coalesce(r.byte_count, h.expected_byte_count,
              (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) AND max(l.byte_count) <= 549755813888
                 THEN max(l.byte_count) END FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present'))) AS known,
            sum(h.reserved_byte_count) AS reserved
          FROM shard h NOT INDEXED
          LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
          GROUP BY h.source_id, h.state
        ) c ON c.source_id = s.id AND c.state = x.column1
        """),
    TotalsTable(
      name: "version_total", keys: ["version_id"],
      counts: [
        "input_count", "hole_count", "row_count", "planned_output_count", "encoded_count", "encoded_row_count",
        "output_count", "output_row_count", "output_byte_count",
      ],
      truth: """
        SELECT v.id, coalesce(c.inputs, 0), coalesce(c.holes, 0), coalesce(c.rows, 0), coalesce(c.outputs, 0),
          coalesce(c.encoded, 0), coalesce(c.encoded_rows, 0), coalesce(d.outputs, 0), coalesce(d.rows, 0),
          coalesce(d.bytes, 0)
        FROM index_version v
        LEFT JOIN (
          SELECT i.version_id, count(*) AS inputs, sum(i.is_hole) AS holes, sum(i.row_count) AS rows,
            max(i.output_ordinal) + 1 AS outputs, count(i.encoded_rows) AS encoded, sum(i.encoded_rows) AS encoded_rows
          FROM (
            SELECT i.version_id, i.is_hole, i.row_count, i.output_ordinal,
              (SELECT g.row_count FROM shard_revision r JOIN segment g ON g.trained_sha256 = t.sha256
                 AND g.shard_sha256 = r.sha256 AND g.array_name = coalesce(a.array_name, '')
                 AND g.bad_rows_policy = w.bad_rows_policy
               WHERE r.shard_id = i.shard_id AND r.revision = i.revision
               ORDER BY g.format_version DESC LIMIT 1) AS encoded_rows
            FROM version_input i JOIN index_version w ON w.id = i.version_id
            JOIN trained_index t ON t.id = w.trained_index_id JOIN source a ON a.id = w.source_id
          ) AS i GROUP BY i.version_id
        ) c ON c.version_id = v.id
        LEFT JOIN (SELECT version_id, count(*) AS outputs, sum(row_count) AS rows, sum(byte_count) AS bytes
          FROM output_shard GROUP BY version_id) d ON d.version_id = v.id
        """),
    TotalsTable(
      name: "stored_total", keys: ["kind"], counts: ["file_count", "byte_count"],
      truth: """
        SELECT p.name, coalesce(c.files, 0), coalesce(c.bytes, 0) FROM purpose p LEFT JOIN
          (SELECT kind, count(*) AS files, sum(byte_count) AS bytes FROM stored_bytes WHERE state <> 'deleted'
            GROUP BY kind) c ON c.kind = p.name
        """),
  ]
}

extension LakeCatalog {
  /// The tables of totals that do not hold what there is to count.
  ///
  /// - Returns: Their names; none in a catalog that only its triggers changed.
  /// - Throws: ``TarnError``.
  /// - Complexity: Counts every shard, input, output and file.
  package func wrongTotals() throws -> [String] {
    try read { database in
      try TotalsTable.all.filter { table in
        try Bool.fetchOne(
          database,
          sql: """
            WITH truth AS MATERIALIZED (\(table.truth))
            SELECT EXISTS (SELECT * FROM \(table.name) EXCEPT SELECT * FROM truth)
              OR EXISTS (SELECT * FROM truth EXCEPT SELECT * FROM \(table.name))
            """) ?? false
      }.map(\.name)
    }
  }

  /// Counts every total again.
  package func recountTotals() throws {
    try write("recount") { database in
      for statement in TotalsTable.all.flatMap(\.recount) { try database.execute(sql: statement) }
    }
  }
}
