import Base
import Catalog
import Foundation
import GRDB
import Migrations
import TestSupport
import Testing

/// The views are the public SQL interface: their columns are pinned here.
@Suite struct ViewTests {
  static let columns: [String: String] = [
    "v_source":
      "source modality dimension dtype companion_of array_name files_of shards present fetching evicted failed dropped rows present_bytes known_bytes created_at registered",
    "v_shard":
      "source ordinal shard state revision sha256 bytes rows trust observed_at expected_bytes expected_sha256 last_error path url",
    "v_transfer":
      "transfer source ordinal shard mirror url outcome http_status resumed_from received_bytes error started_at ended_at",
    "v_trained_index":
      "trained_index state method codec nlist dimension iterations iterations_done seed pairs images captions sha256 bytes path created_at ready_at router router_epochs ranges refine nearest",
    "v_version":
      "version name number state trained_index codec nlist source inputs holes outputs rows bytes sha256 published_as created_at sealed_at ended_at is_pinned refine refine_bytes tarn cpu processors sealed_by",
    "v_version_input":
      "version input source array_name ordinal shard revision sha256 bytes is_hole first_id rows output is_present",
    "v_output_shard":
      "version output file first_input last_input first_id end_id rows bytes sha256 lists_sha256 created_at refine_file refine_bytes refine_sha256",
    "v_build_progress":
      "version state inputs holes encoded inputs_left outputs outputs_done rows rows_encoded",
    "v_companion":
      "companion owner ordinal shard owner_shard state revision sha256 rows owner_rows is_aligned is_packed",
    "v_version_companion": "version companion ordinal shard revision sha256 rows bound_at is_newest is_packed",
    "v_storage": "kind files bytes",
    "v_event": "seq at actor verb subject detail prev hash",
    "v_publication": "version kind place sha256 published_at published_by state seq",
    "v_pin": "version reason pinned_at unpinned_at",
    "v_evaluation":
      "evaluation version evaluated_at queries queries_sha256 query_count k nprobe vectors_scanned share_scanned recall standard_error routing_recall quantization_loss queries_per_second threads imbalance list_sizes refined_rows sample_shards",
    "v_location":
      "source ordinal shard mirror provenance url state bytes etag last_modified bytes_per_second last_error checked_at ask_again_at",
    "v_listing": "source number kind place pattern commit_id names sha256 read_at",
    "v_command":
      "transfer source ordinal shard command exit_status signal seconds printed sha256 inputs error started_at ended_at",
    "v_setting": "setting value changed_at",
    "v_garbage": "kind sha256 bytes path unused_since",
    "v_exclusion": "source shard ordinal row sha256 list kind rule reason listed_at live_versions other_bytes",
    "v_exclusion_entry":
      "source shard ordinal shard_id revision sha256 row list kind rule reason listed_at is_in_force",
    "v_exclusion_version": "source list shard_id revision row is_in_force name number state output",
    "v_exclusion_rule":
      "source number kind companion column_name value_count sha256 reason made_at shards_scanned rows_found",
    "v_exclusion_holder": "source shard row kind holder removed_by",
  ]

  @Test(arguments: columns.keys.sorted())
  func theViewHasExactlyItsDocumentedColumns(view: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    let documented = try lake.catalog.viewDocumentation().first { $0.name == view }
    #expect(documented?.columns.map(\.name).joined(separator: " ") == Self.columns[view])
    #expect(documented?.columns.allSatisfy { !$0.meaning.isEmpty } == true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let actual = try queue.read { try $0.columns(in: view).map(\.name) }
    #expect(actual.joined(separator: " ") == Self.columns[view])
  }

  /// The planner must not read all of a lake for one version or one shard.
  @Test(arguments: [
    "v_version_input WHERE version = 'laion@1'", "v_version_input WHERE shard = '0.npy'",
    "v_version_input WHERE source = 'images' AND ordinal = 0", "v_version_input WHERE sha256 = 'x'",
    "v_output_shard WHERE version = 'laion@1'", "v_shard WHERE source = 'images' AND shard = '0.npy'",
    "v_shard WHERE state = 'failed'", "v_garbage WHERE sha256 = 'x'", "v_event WHERE subject = 'images/0.npy'",
    "v_publication WHERE version = 'laion@1'",
    "v_companion WHERE companion = 'meta' AND ordinal IN (SELECT value FROM json_each('[0]'))",
  ])
  func aQuestionAboutOneThingReadsNoWholeTable(question: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let plan = try queue.read { database in
      try Row.fetchAll(database, sql: "EXPLAIN QUERY PLAN SELECT * FROM \(question)").map { $0["detail"] as String }
    }
    let large = ["a", "b", "e", "g", "h", "i", "l", "o", "r"]
    #expect(plan.filter { step in large.contains { step.hasPrefix("SCAN \($0) ") || step == "SCAN \($0)" } } == [])
  }

  /// Readers that trust no schema, as `sqlite3 -safe` and others, have every view.
  @Test func everyViewIsReadWithoutTrustInTheSchema() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.read { database in
      try database.execute(sql: "PRAGMA trusted_schema = OFF")
      for view in Self.columns.keys.sorted() { _ = try Row.fetchAll(database, sql: "SELECT * FROM \(view)") }
    }
  }

  @Test func noViewIsUndocumented() throws {
    let lake = try TemporaryLake(inMemory: true)
    let names = try lake.catalog.viewDocumentation().map(\.name)
    #expect(names == Self.columns.keys.sorted())
  }
}

/// DuckDB reads views and indexes with a parser of its own.
///
/// One that it cannot read takes its listing of the whole catalog with it.
/// Tests/interop/test_duckdb.py asks DuckDB; these rules say it sooner.
@Suite struct PortableSchemaTests {
  private static let text = views.split(separator: "\n", omittingEmptySubsequences: false)
    .map { line in line.range(of: "-- ").map { line[..<$0.lowerBound] } ?? line }.joined(separator: "\n")

  private func matches(_ pattern: String, _ text: String) throws -> [String] {
    try text.matches(of: Regex(pattern).ignoresCase()).map { String(text[$0.range]) }
  }

  private static let joinedOn = #"\bCROSS\s+JOIN\s+(\w+|\([^()]*\))(\s+(AS\s+)?(?!ON\b)\w+)?\s+ON\b"#
  private static let indexed = #"\bINDEXED\b"#

  @Test func noViewUsesWhatOnlySQLiteParses() throws {
    #expect(try matches(Self.indexed, Self.text) == [])
    #expect(try matches(Self.joinedOn, Self.text) == [])
    #expect(try matches(#"\b(iif|ifnull|total|unixepoch)\s*\("#, Self.text) == [])
    #expect(try matches(#"CREATE VIEW (?!v_)"#, Self.text) == [])
    // The rules find what they are about.
    #expect(try matches(Self.indexed, migrations[7].sql).count == 2)
    #expect(try matches(Self.joinedOn, migrations[7].sql).count > 5)
  }

  @Test func noIndexIsPartialAndExpressionsStandInParentheses() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let indexes = try queue.read {
      try String.fetchAll($0, sql: "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    }
    #expect(indexes.count > 20)
    for index in indexes {
      let (columns, rest) = try #require(Self.columns(ofIndex: index))
      #expect(rest.isEmpty, "\(index)")
      for column in columns {
        // A name, a call, or an expression in parentheses.
        #expect(column.wholeMatch(of: /\w+|\w*\(.*\)/.dotMatchesNewlines()) != nil, "\(index)")
      }
    }
  }

  /// What stands between the outermost parentheses, split at its outermost commas,
  /// and what follows them.
  private static func columns(ofIndex sql: String) -> ([String], String)? {
    guard let start = sql.firstIndex(of: "(") else { return nil }
    var (depth, columns, column) = (0, [String](), "")
    for index in sql[start...].indices {
      let character = sql[index]
      depth += character == "(" ? 1 : character == ")" ? -1 : 0
      if depth == 0 { return (columns + [column.trimmed], String(sql[sql.index(after: index)...])) }
      if depth == 1, character == "," {
        columns.append(column.trimmed)
        column = ""
      } else if index != start {
        column.append(character)
      }
    }
    return nil
  }
}

extension String {
  fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}

@Suite struct QueryConsoleTests {
  private func run(_ sql: String, _ lake: TemporaryLake, limit: Duration? = nil) throws -> [[SQLValue]] {
    var rows: [[SQLValue]] = []
    try QueryConsole(layout: lake.catalog.layout, timeLimit: limit).run(sql) { _, values in
      if let values { rows.append(values) }
    }
    return rows
  }

  @Test func itReadsTheViews() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 3, expectedByteCount: 128 + 8 * 5)
    #expect(
      try run("SELECT source, shards, known_bytes FROM v_source;", lake) == [
        [.text("images"), .integer(3), .integer(504)]
      ])
    #expect(
      try run(
        "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT sum(x), NULL, 0.5, x'00ff' FROM n",
        lake)
        == [[.integer(6), .null, .real(0.5), .blob([0, 255])]])
  }

  @Test(arguments: [
    "DELETE FROM source", "UPDATE shard SET state = 'present'", "INSERT INTO source DEFAULT VALUES",
    "DROP TABLE source",
    "CREATE TABLE t (x)", "ATTACH '/tmp/x' AS x", "PRAGMA user_version = 3", "PRAGMA writable_schema = 1",
    "VACUUM INTO '/tmp/x'",
    "SELECT load_extension('x')", "SELECT fts3_tokenizer('simple')", "BEGIN", "SELECT 1; DELETE FROM source", "", "  ;",
    "SELEC", "SELECT * FROM nothing",
    "SELECT * FROM pragma_table_info('source')",
    // SQLite takes a statement to end there, and would leave the condition out.
    "SELECT name FROM source\0 WHERE 0",
  ])
  func itRefusesAnythingButOneSelect(sql: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    let error = #expect(throws: TarnError.self) { try run(sql, lake) }
    #expect(error?.code == .usage)
  }

  @Test func itStopsAQueryThatRunsAway() throws {
    let lake = try TemporaryLake(inMemory: true)
    let endless = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    let error = #expect(throws: TarnError.self) { try run(endless, lake, limit: .milliseconds(30)) }
    #expect(error?.code == .usage)
  }
}
