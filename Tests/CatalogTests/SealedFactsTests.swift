// Every column of every table is sealed, observed or free, and a sealed one that
// changes behind the triggers is named by `verify` and by `doctor`.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct SealedFactsTests {
  /// What a column is.
  enum Class: Equatable {
    /// What a sealed version, a trained index, an evaluation or the history states
    /// for good: another value is found.
    case sealed
    /// Seen once, of servers, clocks or this lake; nothing else tells of it.
    case observed
    /// Changes with the work, or is counted from the rest.
    case free
  }

  /// A table: which of its rows states something for good, and its columns.
  private struct Facts {
    let row: String
    let columns: [String: Class]

    init(_ row: String, sealed: [String] = [], observed: [String] = [], free: [String] = []) {
      self.row = row
      columns = Dictionary(
        uniqueKeysWithValues: sealed.map { ($0, .sealed) } + observed.map { ($0, .observed) } + free.map { ($0, .free) }
      )
    }

    static func list(_ columns: String...) -> Facts { Facts("rowid_of_first", sealed: columns) }
  }

  private static let version = "(SELECT id FROM index_version WHERE name = 'laion' AND number = 1)"
  private static let trained = "(SELECT trained_index_id FROM index_version WHERE id = \(version))"
  private static let routed = "(SELECT id FROM trained_index WHERE name = 'routed')"
  private static let shard = "(SELECT shard_id FROM version_input WHERE version_id = \(version) AND ordinal = 0)"

  private static let facts: [String: Facts] = [
    "lake": Facts("1", observed: ["id", "uuid", "shards_directory", "artifacts_directory", "created_at"]),
    "source": Facts(
      "name = 'images'", sealed: ["id", "name", "modality", "dimension", "dtype", "array_name", "files_of"],
      observed: ["created_at", "kept_query", "companion_of"]),
    "mirror": Facts(
      "source_id = (SELECT id FROM source WHERE name = 'images')", sealed: ["id", "source_id", "template"],
      observed: ["priority", "provenance", "created_at", "is_of_document"]),
    "source_listing": Facts(
      "1",
      observed: [
        "source_id", "number", "kind", "place", "pattern", "commit_id", "sha256", "name_count", "read_at",
      ]),
    "shard": Facts(
      "id = \(shard)", sealed: ["id", "source_id", "ordinal", "name"],
      observed: ["expected_byte_count", "expected_sha256", "expected_row_count"],
      free: ["state", "current_revision", "reserved_byte_count", "last_error", "changed_at", "dropped_row_count"]),
    "shard_location": Facts(
      "shard_id = \(shard)", sealed: ["shard_id", "mirror_id", "url"],
      observed: ["state", "byte_count", "row_count", "etag", "last_modified", "last_error", "checked_at"]),
    "shard_revision": Facts(
      "shard_id = \(shard)", sealed: ["shard_id", "revision", "sha256", "byte_count", "row_count"],
      observed: ["trust", "mirror_id", "etag", "last_modified", "observed_at"]),
    // Proved by the digest of the whole before anything is written.
    "shard_chunks": Facts("1", observed: ["shard_id", "revision", "chunk_byte_count", "states"]),
    "transfer": Facts(
      "1",
      observed: [
        "id", "shard_id", "mirror_id", "url", "started_at", "ended_at", "resumed_from", "received_byte_count",
        "http_status", "outcome", "error",
      ]),
    "command_run": Facts(
      "1", observed: ["transfer_id", "command", "exit_status", "signal", "seconds", "printed", "sha256"]),
    "command_input": Facts("1", observed: ["transfer_id", "position", "path", "sha256", "byte_count"]),
    "stored_bytes": Facts(
      "sha256 = (SELECT sha256 FROM output_shard WHERE version_id = \(version) AND ordinal = 0)",
      sealed: ["sha256", "place", "byte_count", "path", "state"],
      observed: ["kind", "created_at", "verified_at", "deleting_at"]),
    "duplicate_file": Facts("1", free: ["place", "path"]),
    "trained_index": Facts(
      "id = \(trained)",
      sealed: [
        "id", "name", "state", "method", "codec", "nlist", "dimension", "iterations", "seed", "pair_count",
        "image_source_id", "caption_source_id", "spec", "spec_sha256", "sha256",
      ], observed: ["created_at", "ready_at"]),
    "trained_router": Facts(
      "trained_index_id = \(routed)",
      sealed: ["trained_index_id", "method", "caption_source_id", "caption_count", "epochs"]),
    "trained_input": Facts(
      "trained_index_id = \(trained) AND ordinal = 0",
      sealed: ["trained_index_id", "role", "ordinal", "shard_id", "revision"]),
    "training_iteration": Facts(
      "trained_index_id = \(trained)",
      sealed: [
        "trained_index_id", "iteration", "objective", "moved_share", "imbalance", "empty_count", "largest_count",
      ]),
    "router_epoch": Facts("trained_index_id = \(routed)", sealed: ["trained_index_id", "epoch", "loss"]),
    "nearest_images": Facts(
      "purpose = 'evaluation-truth'", sealed: ["inputs_sha256", "sha256", "pair_count"],
      observed: ["purpose", "created_at"]),
    "index_version": Facts(
      "id = \(version)",
      sealed: [
        "id", "name", "number", "state", "trained_index_id", "source_id", "shards_per_output", "missing_policy",
        "bad_rows_policy", "spec", "spec_sha256", "environment", "version_sha256", "published_as",
      ], observed: ["created_at", "sealed_at", "ended_at"]),
    "version_input": Facts(
      "version_id = \(version) AND ordinal = 0",
      sealed: [
        "version_id", "ordinal", "shard_id", "revision", "is_hole", "output_ordinal", "first_id", "row_count",
        "excluded_rows",
      ]),
    "exclusion_list": Facts(
      "1", observed: ["id", "source_id", "number", "kind", "reason", "row_count", "sha256", "created_at", "rule_id"]),
    "exclusion_row": Facts("1", observed: ["shard_id", "revision", "row", "list_id", "value_sha256"]),
    "exclusion_rule": Facts(
      "1",
      observed: [
        "id", "source_id", "number", "kind", "companion_id", "column_name", "reason", "value_count", "sha256",
        "created_at",
      ]),
    "exclusion_value": Facts("1", observed: ["rule_id", "sha256"]),
    "exclusion_scan": Facts(
      "1", observed: ["rule_id", "shard_id", "revision", "companion_shard_id", "companion_revision"]),
    // A segment's file says whose it is, and is asked when it is merged.
    "segment": Facts(
      "1",
      observed: [
        "trained_sha256", "shard_sha256", "array_name", "bad_rows_policy", "format_version", "sha256", "row_count",
        "bad_row_count",
        "created_at",
      ]),
    // No lock file and no document has them.
    "version_companion": Facts("1", observed: ["version_id", "shard_id", "revision", "bound_at"]),
    // A pack's file says of which bytes it is, and is asked when it is read.
    "pack": Facts(
      "1",
      observed: ["companion_sha256", "format_version", "columns", "without_rows", "sha256", "row_count", "created_at"]),
    "output_shard": Facts(
      "version_id = \(version) AND ordinal = 0",
      sealed: [
        "version_id", "ordinal", "sha256", "first_input", "last_input", "first_id", "end_id", "row_count", "byte_count",
        "lists_sha256", "refine_sha256", "refine_byte_count",
      ], observed: ["created_at"]),
    "lock_text": Facts("version_id = \(version)", sealed: ["version_id", "text"]),
    "event": Facts("seq = 2", sealed: ["seq", "at", "actor", "verb", "subject", "detail", "prev", "hash"]),
    "pin": Facts("1", sealed: ["version_id", "reason", "removed_at"], observed: ["id", "created_at"]),
    "reproduction": Facts(
      "1", sealed: ["version_id", "started_at", "ended_at", "outcome", "detail", "environment"], observed: ["id"]),
    "evaluation": Facts(
      "1",
      sealed: [
        "id", "version_id", "evaluated_at", "queries", "queries_sha256", "query_count", "row_count", "truth_sha256",
        "threads", "imbalance", "list_sizes", "environment",
      ]),
    "evaluation_point": Facts("1", sealed: ["evaluation_id", "nprobe", "vectors_scanned", "seconds"]),
    "evaluation_recall": Facts(
      "1", sealed: ["evaluation_id", "nprobe", "k", "recall", "standard_error", "routing_recall"]),
    "setting": Facts("1", free: ["name", "value", "changed_at"]),
    // Kept by triggers, and counted again by `doctor`.
    "shard_total": Facts(
      "1",
      free: [
        "source_id", "state", "shard_count", "row_count", "byte_count", "known_byte_count", "reserved_byte_count",
      ]),
    "version_total": Facts(
      "1",
      free: [
        "version_id", "input_count", "hole_count", "row_count", "planned_output_count", "encoded_count",
        "encoded_row_count", "output_count", "output_row_count", "output_byte_count",
      ]),
    "stored_total": Facts("1", free: ["kind", "file_count", "byte_count"]),
    "place": .list("name"), "purpose": .list("name", "place"), "trust": .list("name"), "modality": .list("name"),
    "dtype": .list("name", "byte_count"), "training_method": .list("name", "has_captions"),
    "codec": .list("name", "bit_count", "has_ranges"), "router_method": .list("name"),
  ]

  /// Values that mean something else, where any other value would be unknown.
  private static let otherValues: [String: String] = [
    "source.modality": "'text'", "source.dtype": "'float32'", "stored_bytes.place": "'shards'",
    "stored_bytes.state": "'deleted'", "trained_index.state": "'training'", "trained_index.method": "'paired-kmeans'",
    "trained_index.codec": "'sq8'", "trained_router.method": "'caption-mean'", "trained_input.role": "'caption'",
    "index_version.state": "'revoked'", "index_version.missing_policy": "'skip'",
    "index_version.bad_rows_policy": "'skip'", "index_version.published_as": "'other@3'", "version_input.is_hole": "1",
    "reproduction.outcome": "'differs'",
    "event.verb": "'gc'",
  ]

  private func columns(_ database: Database) throws -> [String: [String]] {
    let tables = try String.fetchAll(
      database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return try Dictionary(
      uniqueKeysWithValues: tables.map { table in
        (table, try Row.fetchAll(database, sql: "PRAGMA table_info(\(table))").map { $0["name"] as String })
      })
  }

  @Test func everyColumnIsClassed() throws {
    let lake = try TemporaryLake(inMemory: true)
    let found = try CatalogFile.open(lake.root + "/catalog.sqlite").read { try columns($0) }
    #expect(found.keys.sorted() == Self.facts.keys.sorted())
    for (table, columns) in found {
      #expect(columns.sorted() == Self.facts[table]?.columns.keys.sorted(), "\(table)")
    }
  }

  /// A value that another one becomes.
  private func other(_ table: String, _ column: String) -> String {
    if let value = Self.otherValues["\(table).\(column)"] { return value }
    return """
      CASE typeof(\(column)) WHEN 'integer' THEN \(column) + 1000 WHEN 'real' THEN \(column) + 0.125
        WHEN 'null' THEN CASE WHEN '\(column)' LIKE '%\\_at' ESCAPE '\\' THEN '2026-01-01T00:00:00.000Z' ELSE 2 END
        ELSE CASE WHEN length(\(column)) = 64 AND \(column) NOT GLOB '*[^0-9a-f]*'
          THEN iif(substr(\(column), 1, 1) = '0', '1', '0') || substr(\(column), 2)
          WHEN \(column) GLOB '{*}' THEN '{"x":1,' || substr(\(column), 2)
          ELSE \(column) || 'x' END END
      """
  }

  private func copy(of lake: TemporaryLake) throws -> (directory: TemporaryDirectory, root: String) {
    let directory = try TemporaryDirectory(inMemory: true)
    let root = directory.path + "/lake"
    try FileManager.default.copyItem(atPath: lake.root, toPath: root)
    return (directory, root)
  }

  @Test func everySealedColumnThatChangesIsNamed() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fillEveryTable(lake)
    let (directory, root) = try copy(of: lake)
    #expect(try LakeCatalog.open(root: root, writing: "test").verify().damages.map(\.message) == [])
    withExtendedLifetime(directory) {}
    var silent: [String] = []
    var count = 0
    for (table, facts) in Self.facts.sorted(by: { $0.key < $1.key }) {
      for column in facts.columns.filter({ $0.value == .sealed }).keys.sorted() {
        let (directory, root) = try copy(of: lake)
        let path = root + "/catalog.sqlite"
        let row = facts.row == "rowid_of_first" ? "name = (SELECT name FROM \(table) LIMIT 1)" : facts.row
        let before = try rows(of: table, path)
        try Tampering.run(path, ["UPDATE \(table) SET \(column) = \(other(table, column)) WHERE \(row)"])
        try #require(try rows(of: table, path) != before, "\(table).\(column) did not change")
        count += 1
        let examined = try LakeExamination(LakeCatalog.open(root: root, writing: nil)).findings()
        // Which bytes a file has is no business of doctor's.
        if !examined.contains(where: { $0.level == .problem }), table != "stored_bytes" || column == "state" {
          silent.append("doctor: \(table).\(column)")
        }
        let damages = try LakeCatalog.open(root: root, writing: "test").verify().damages
        if damages.isEmpty { silent.append("verify: \(table).\(column)") }
        if damages.contains(where: { $0.message.isEmpty || $0.file.name.isEmpty }) {
          silent.append("without a word: \(table).\(column)")
        }
        withExtendedLifetime(directory) {}
      }
    }
    #expect(silent.isEmpty, "\(silent)")
    #expect(count > 120)
  }

  private func rows(of table: String, _ path: String) throws -> [String] {
    try CatalogFile.open(path).read { try Row.fetchAll($0, sql: "SELECT * FROM \(table)").map(\.description) }
  }

  /// What was there is gone: whole rows, the history, the guards.
  @Test(arguments: [
    "DELETE FROM event", "DELETE FROM event WHERE seq > 3", "DELETE FROM evaluation_recall",
    "DELETE FROM evaluation_recall; DELETE FROM evaluation_point; DELETE FROM evaluation",
    "DELETE FROM reproduction", "DELETE FROM pin", "DELETE FROM training_iteration",
    "DELETE FROM lock_text; UPDATE index_version SET shards_per_output = 7",
    "DELETE FROM version_input WHERE version_id = \(version); DELETE FROM output_shard WHERE version_id = \(version)",
    "DELETE FROM lock_text; DELETE FROM version_input; DELETE FROM output_shard; DELETE FROM index_version",
    "UPDATE version_input SET first_id = first_id + 5", "UPDATE lock_text SET text = replace(text, '5', '6')",
  ])
  func whatIsGoneIsNamed(sql: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fillEveryTable(lake)
    let (directory, root) = try copy(of: lake)
    try Tampering.run(root + "/catalog.sqlite", [sql])
    let examined = try LakeExamination(LakeCatalog.open(root: root, writing: nil)).findings()
    #expect(examined.contains { $0.level == .problem })
    #expect(try !LakeCatalog.open(root: root, writing: "test").verify().damages.isEmpty)
    withExtendedLifetime(directory) {}
  }

  @Test(arguments: [
    "DROP TRIGGER sealed_version_is_frozen", "CREATE TRIGGER x AFTER INSERT ON event BEGIN SELECT 1; END",
  ])
  func guardsThatAreNotThoseOfTheSchemaAreNamed(sql: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFile.open(lake.root + "/catalog.sqlite").write { try $0.execute(sql: sql) }
    let damages = try lake.catalog.verify().damages
    #expect(damages.count == 1 && damages[0].message.hasPrefix("trigger "), "\(damages)")
  }

  /// A lake that an older tarn left, one from before there was a history too, has
  /// statements that nothing tells of; none of them is an alarm.
  @Test(arguments: [1, 2, 3, 8, 9]) func anOlderCatalogRaisesNoAlarm(schema: Int) throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let (directory, root) = try copy(of: lake)
    try OldCatalog.age(root, toSchema: schema)
    let report = try LakeCatalog.open(root: root, writing: "test").verify()
    #expect(report.damages.map(\.message) == [])
    #expect(report.unchecked.isEmpty == (schema > 1), "\(report.unchecked)")
    let examined = try LakeExamination(LakeCatalog.open(root: root, writing: nil)).findings()
    #expect(examined.filter { $0.level == .problem }.isEmpty)
    withExtendedLifetime(directory) {}
  }

  // MARK: What is kept elsewhere

  /// Whoever computes the whole chain anew is found out by the hash that somebody
  /// noted before, and by nothing else.
  @Test func aChainMadeAnewIsFoundByWhatWasNoted() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let head = try #require(try lake.catalog.historyHead())
    let noted = try #require(Expectation(parsing: head.hash))
    _ = try lake.addSource("later", count: 1)
    #expect(try lake.catalog.unmet([noted]).isEmpty)
    var (previous, statements): (String, [String]) = (String(repeating: "0", count: 64), [])
    for event in try lake.catalog.events() {
      let actor = event.number == 1 ? "nobody@nowhere" : event.actor
      let hash = Event.hash(
        number: event.number, at: event.at, actor: actor, verb: event.verb, subject: event.subject,
        detail: event.detail, previous: previous)
      statements.append(
        "UPDATE event SET actor = '\(actor)', prev = '\(previous)', hash = '\(hash.hex)' WHERE seq = \(event.number)")
      previous = hash.hex
    }
    try Tampering.run(lake.root + "/catalog.sqlite", statements)
    #expect(try lake.catalog.verify().damages.map(\.message) == [])
    let damages = try lake.catalog.unmet([noted])
    #expect(damages.map(\.file.kind) == [.history])
    #expect(damages.first?.message.contains(head.hash) == true)
  }

  @Test func aVersionIsHeldAgainstTheDigestThatWasNoted() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let digest = try #require(try lake.catalog.version(VersionName(name: "laion", number: 1)).versionDigest)
    let right = try #require(Expectation(parsing: "laion@1=\(digest)"))
    #expect(try lake.catalog.unmet([right]).isEmpty)
    for text in ["laion@1=\(ContentDigest.of("another"))", "laion@9=\(digest)", "laion@2=\(digest)"] {
      let wrong = try #require(Expectation(parsing: text))
      #expect(try lake.catalog.unmet([wrong]).map(\.file.kind) == [.record], "\(text)")
    }
    for text in ["", "laion@1", "laion@1=abc", "=\(digest)", "x=\(digest)", String(digest.hex.dropLast())] {
      #expect(Expectation(parsing: text) == nil, "\(text)")
    }
  }
}
