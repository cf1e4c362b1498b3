// Questions that people ask of a lake, in SQL: in the documentation, in
// Datasette's metadata, on the server's page, and run by a test.

package import Base
package import Catalog

/// A question in SQL; `:name` is a parameter.
package struct CannedQuery: Sendable {
  package let name: String
  package let title: String
  package let sql: String

  /// The names of its parameters, each once.
  package var parameters: [String] {
    var seen: Set<String> = []
    return sql.matches(of: /:(\w+)/).map { String($0.1) }.filter { seen.insert($0).inserted }
  }

  /// The question with values in the place of its parameters, as literals of text; null where there is none.
  package func sql(with values: [String: String]) -> String {
    sql.replacing(/:(\w+)/) { match in
      values[String(match.1)].map { "'\($0.replacing("'", with: "''"))'" } ?? "NULL"
    }
  }

  /// Every shard that could not be had when it was asked for last, those that are here among them.
  package static let shardErrors = "SELECT source, shard, last_error FROM v_shard WHERE last_error IS NOT NULL"

  /// Every question, in the order of the documentation.
  package static let all: [CannedQuery] = [
    CannedQuery(
      name: "build-status", title: "How far is each build?",
      sql: """
        SELECT version, state, inputs, holes, encoded, inputs_left, outputs_done, outputs
        FROM v_build_progress ORDER BY version
        """),
    CannedQuery(
      name: "what-is-left", title: "What is left to fetch, and for how long, one transfer at a time?",
      sql: """
        WITH rate AS (
          SELECT sum(received_bytes) / sum((julianday(ended_at) - julianday(started_at)) * 86400) AS bytes_per_second
          FROM (SELECT * FROM v_transfer WHERE outcome = 'complete' ORDER BY transfer DESC LIMIT 100)
        ), waiting AS (
          SELECT source, coalesce(expected_bytes, (SELECT max(l.bytes) FROM v_location l
            WHERE l.source = s.source AND l.ordinal = s.ordinal AND l.state = 'present')) AS bytes
          FROM v_shard s WHERE state IN ('registered', 'fetching', 'failed')
            AND source IN (SELECT source FROM v_source WHERE files_of IS NULL)
        )
        SELECT source, count(*) AS shards_left, sum(bytes) AS bytes_left,
          round(sum(bytes) / max(bytes_per_second) / 3600, 1) AS hours_left
        FROM waiting, rate GROUP BY source
        """),
    CannedQuery(name: "shard-errors", title: "Which shards could not be had, and why?", sql: shardErrors),
    CannedQuery(
      name: "outputs-with-shard", title: "Which outputs hold a shard?",
      sql: """
        SELECT i.version, o.file, i.revision, i.first_id, i.rows
        FROM v_version_input i JOIN v_output_shard o ON o.version = i.version AND o.output = i.output
        WHERE i.source = :source AND i.shard = :shard ORDER BY i.version
        """),
    CannedQuery(
      name: "excluded-rows", title: "Is a row that must go in any live version, and in which files?",
      sql: """
        SELECT e.source, e.shard, e.row, e.reason, e.live_versions, h.kind AS held_by, h.holder, h.removed_by
        FROM v_exclusion e LEFT JOIN v_exclusion_holder h ON h.source = e.source AND h.shard = e.shard AND h.row = e.row
        WHERE e.kind = 'exclude' ORDER BY e.source, e.ordinal, e.row, held_by, holder
        """),
    CannedQuery(
      name: "versions-with-revision", title: "Which versions use these bytes?",
      sql: """
        SELECT version, source, shard, revision, output FROM v_version_input
        WHERE sha256 = :sha256 ORDER BY version
        """),
    CannedQuery(
      name: "rate-per-mirror", title: "How fast is each mirror, and how often does it fail?",
      sql: """
        SELECT source, mirror, count(*) AS transfers, sum(outcome = 'failed') AS failed, sum(received_bytes) AS bytes,
          round(sum(received_bytes) / sum((julianday(ended_at) - julianday(started_at)) * 86400)) AS bytes_per_second
        FROM v_transfer GROUP BY source, mirror ORDER BY source, mirror
        """),
    CannedQuery(
      name: "how-computed", title: "How was a shard computed?",
      sql: """
        SELECT c.command, c.inputs, c.seconds, c.ended_at, c.sha256, s.revision
        FROM v_command c LEFT JOIN v_shard s ON s.source = c.source AND s.ordinal = c.ordinal AND s.sha256 = c.sha256
        WHERE c.source = :source AND c.shard = :shard AND c.sha256 IS NOT NULL ORDER BY c.transfer DESC
        """),
    CannedQuery(
      name: "disk-by-kind", title: "What takes the room?",
      sql: "SELECT kind, files, bytes FROM v_storage ORDER BY bytes DESC"),
    CannedQuery(
      name: "lineage-of-a-row", title: "Where does a row id come from?",
      sql: """
        SELECT i.version, i.source, i.shard, CAST(:id AS INTEGER) - i.first_id AS row, i.revision, i.sha256, o.file, s.url
        FROM v_version_input i
        JOIN v_output_shard o ON o.version = i.version AND o.output = i.output
        JOIN v_shard s ON s.source = i.source AND s.ordinal = i.ordinal
        WHERE i.version = :version AND CAST(:id AS INTEGER) BETWEEN i.first_id AND i.first_id + i.rows - 1
        """),
    CannedQuery(
      name: "inputs-not-here", title: "Which versions need shards that are not in the lake to be reproduced?",
      sql: """
        SELECT version, count(*) AS shards, sum(bytes) AS bytes FROM v_version_input
        WHERE is_hole = 0 AND is_present = 0 GROUP BY version ORDER BY version
        """),
    CannedQuery(
      name: "outdated-inputs", title: "Which versions use a revision that is not the newest?",
      sql: """
        SELECT i.version, i.source, i.shard, i.revision AS used, s.revision AS newest
        FROM v_version_input i JOIN v_shard s ON s.source = i.source AND s.ordinal = i.ordinal
        WHERE s.revision <> i.revision ORDER BY i.version, i.input
        """),
    CannedQuery(
      name: "built-with", title: "When, where and with what was each version built?",
      sql: """
        SELECT version, state, created_at, sealed_at, round((julianday(sealed_at) - julianday(created_at)) * 86400) AS seconds,
          sealed_by, tarn, cpu, processors FROM v_version ORDER BY created_at, version
        """),
    CannedQuery(
      name: "shards-of-version", title: "Which shards went into a version, and with which bytes?",
      sql: """
        SELECT input, source, shard, revision, sha256, rows, is_hole, output FROM v_version_input
        WHERE version = :version ORDER BY input
        """),
    CannedQuery(
      name: "publications", title: "Where was a version published, and which copies must be taken down?",
      sql: """
        SELECT version, state, kind, place, published_at, published_by FROM v_publication
        ORDER BY state <> 'revoked', version, seq
        """),
    CannedQuery(
      name: "who-changed-what", title: "Who changed what, and when?",
      sql: """
        SELECT at, actor, verb, subject, detail FROM v_event
        WHERE verb NOT IN ('fetched', 'seen', 'evicted', 'output', 'gc') ORDER BY seq DESC LIMIT 100
        """),
    CannedQuery(
      name: "history-of", title: "What happened to it?",
      sql: "SELECT at, actor, verb, detail FROM v_event WHERE subject = :subject ORDER BY seq"),
  ]

  /// Datasette's metadata: the questions, and what each column means.
  ///
  /// - Parameter views: The documentation of the views.
  /// - Returns: The document for `datasette --metadata`.
  /// - SeeAlso: https://docs.datasette.io/en/stable/metadata.html
  package static func datasetteMetadata(_ views: [ViewDocumentation]) -> JSONValue {
    let queries = all.map { query in
      (query.name, JSONValue.object(["title": .string(query.title), "sql": .string(query.sql)]))
    }
    let tables = views.map { view in
      let columns = view.columns.map { ($0.name, JSONValue.string($0.meaning)) }
      return (view.name, JSONValue.object(["columns": .object(Dictionary(uniqueKeysWithValues: columns))]))
    }
    return .object([
      "title": .string("tarn"),
      "databases": .object([
        "catalog": .object([
          "description": .string("The catalog of a tarn lake; the views beginning with v_ are its public interface."),
          "queries": .object(Dictionary(uniqueKeysWithValues: queries)),
          "tables": .object(Dictionary(uniqueKeysWithValues: tables)),
        ])
      ]),
    ])
  }
}
