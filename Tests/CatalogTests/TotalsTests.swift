import Base
import Catalog
import Foundation
import GRDB
import Migrations
import Testing
import TestSupport

/// Random writes of a connection that knows nothing of tarn, allowed ones and
/// refused ones: the totals are always what there is to count.
private struct RandomWriter {
  var random: SplitMix64
  let queue: DatabaseQueue
  var accepted = 0
  private static let empty = Result { try TemporaryLake(inMemory: true) }
  private static let now = "2026-01-01T00:00:00.000Z"
  private static let contents = (0..<6).map { ContentDigest.of("content \($0)").hex }

  init(seed: UInt64) throws {
    random = SplitMix64(seed: seed)
    var configuration = Configuration()
    configuration.foreignKeysEnabled = seed % 2 == 0
    queue = try DatabaseQueue(configuration: configuration)
    try CatalogFile.open(Self.empty.get().root + "/catalog.sqlite").backup(to: queue)
    try queue.write { database in
      for source in 1...2 {
        try database.execute(
          sql: """
            INSERT INTO source (id, name, modality, dimension, dtype, created_at, kept_query)
            VALUES (?, ?, 'image', 4, 'float16', ?, '')
            """,
          arguments: [source, "s\(source)", Self.now])
      }
      for trained in 1...2 {
        let digest = ContentDigest.of("trained \(trained)").hex
        try database.execute(
          sql: """
            INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, created_at)
            VALUES (?1, 'artifacts', 'trained-index', 7, ?1, ?2);
            """, arguments: [digest, Self.now])
        try database.execute(
          sql: """
            INSERT INTO trained_index (id, name, state, method, codec, nlist, dimension, iterations, seed, pair_count,
              image_source_id, spec, spec_sha256, created_at)
            VALUES (?1, 't' || ?1, 'training', 'kmeans', 'sq4', 2, 4, 1, 1, 4, 1, '{}', 'x', ?2)
            """, arguments: [trained, Self.now])
        try database.execute(
          sql: "UPDATE trained_index SET state = 'ready', sha256 = ?, ready_at = ? WHERE id = ?",
          arguments: [digest, Self.now, trained])
      }
    }
  }

  private mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
  private mutating func content() -> String { Self.contents[number(0..<Self.contents.count)] }
  private mutating func policy() -> String { number(0..<4) == 0 ? "skip" : "fail" }

  /// A conflict clause, mostly none.
  private mutating func clause() -> String { ["", "", "", "OR REPLACE", "OR IGNORE"][number(0..<5)] }

  /// One write; what the schema refuses changes nothing.
  mutating func write() throws {
    let statements = statements()
    let isAccepted = try queue.writeWithoutTransaction { database in
      do {
        try database.inTransaction {
          for statement in statements { try database.execute(sql: statement) }
          return .commit
        }
        return true
      } catch is DatabaseError {
        return false
      }
    }
    if isAccepted { accepted += 1 }
  }

  private mutating func statements() -> [String] {
    let now = "'\(Self.now)'"
    let shard = "(SELECT id FROM shard ORDER BY id LIMIT 1 OFFSET \(number(0..<8)))"
    let version = "(SELECT id FROM index_version ORDER BY id DESC LIMIT 1 OFFSET \(number(0..<3)))"
    let (or, sha) = (clause(), content())
    switch number(0..<16) {
    case 0, 1:
      let (source, ordinal) = (number(1..<3), number(0..<6))
      let state = ["registered", "registered", "absent", "failed"][number(0..<4)]
      let size = ["NULL", "10", "20"][number(0..<3)]
      return [
        "INSERT \(or) INTO shard (source_id, ordinal, name, state, expected_byte_count, changed_at) VALUES (\(source), \(ordinal), '\(ordinal).npy', '\(state)', \(size), \(now))"
      ]
    case 2: return ["DELETE FROM shard WHERE id = \(shard)"]
    case 3, 4:
      return [
        "INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, created_at) SELECT '\(sha)', 'shards', 'shard', \(number(1..<30)), '\(sha)', \(now) WHERE NOT EXISTS (SELECT 1 FROM stored_bytes WHERE sha256 = '\(sha)')",
        "UPDATE stored_bytes SET state = 'present' WHERE sha256 = '\(sha)' AND state <> 'present'",
        "INSERT \(or) INTO shard_revision SELECT h.id, coalesce((SELECT max(revision) FROM shard_revision WHERE shard_id = h.id), 0) + 1, '\(sha)', \(number(1..<30)), 5, 'first-use', NULL, NULL, NULL, \(now) FROM shard h WHERE h.id = \(shard)",
        "UPDATE shard SET current_revision = (SELECT max(revision) FROM shard_revision r WHERE r.shard_id = shard.id), state = 'present', reserved_byte_count = NULL WHERE id = \(shard) AND EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = shard.id)",
      ]
    case 5:
      return [
        "UPDATE \(or) shard SET state = 'fetching', reserved_byte_count = \(number(1..<40)) WHERE id = \(shard)"
      ]
    case 6:
      let next = ["registered", "present", "evicting", "evicted", "absent", "failed"][number(0..<6)]
      return [
        "UPDATE \(or) shard SET state = '\(next)', reserved_byte_count = NULL WHERE id = \(shard)"
      ]
    case 7: return ["UPDATE \(or) shard SET expected_byte_count = \(number(1..<9)) WHERE id = \(shard)"]
    case 8:
      let (name, trained, policy) = (number(0..<2), number(1..<3), policy())
      return [
        "INSERT \(or) INTO index_version (name, number, state, trained_index_id, source_id, shards_per_output, missing_policy, bad_rows_policy, spec, spec_sha256, environment, created_at) SELECT 'v\(name)', coalesce((SELECT max(number) FROM index_version WHERE name = 'v\(name)'), 0) + 1, 'planned', \(trained), 1, 2, 'skip', '\(policy)', '{}', hex(randomblob(4)), '{}', \(now)",
        "INSERT INTO version_input SELECT (SELECT max(id) FROM index_version), row_number() OVER (ORDER BY h.id) - 1, h.id, iif(h.id % 3 = 0, NULL, h.current_revision), h.id % 5 = 0 AND h.current_revision IS NULL, (row_number() OVER (ORDER BY h.id) - 1) / 2, 5 * h.ordinal, 5 FROM shard h",
      ]
    case 9:
      return [
        "UPDATE index_version SET state = CASE state WHEN 'planned' THEN 'building' ELSE 'abandoned' END, ended_at = iif(state = 'planned', NULL, \(now)) WHERE id = \(version)"
      ]
    case 10: return ["DELETE FROM version_input WHERE version_id = \(version) AND ordinal >= \(number(0..<6))"]
    case 11:
      return [
        "UPDATE \(or) version_input SET revision = (SELECT h.current_revision FROM shard h WHERE h.id = shard_id) WHERE version_id = \(version) AND revision IS NULL AND is_hole = 0 AND ordinal = \(number(0..<6))"
      ]
    case 12:
      return [
        "UPDATE \(or) version_input SET is_hole = 1 WHERE version_id = \(version) AND revision IS NULL AND is_hole = 0"
      ]
    case 13:
      let (trained, format, policy) = (number(1..<3), number(1..<4), policy())
      let digest = ContentDigest.of("segment \(trained) \(format) \(policy) \(sha)").hex
      return [
        "INSERT OR IGNORE INTO stored_bytes (sha256, place, kind, byte_count, path, created_at) SELECT '\(digest)', 'artifacts', 'segment', \(number(1..<9)), '\(digest)', \(now) WHERE NOT EXISTS (SELECT 1 FROM stored_bytes WHERE sha256 = '\(digest)')",
        "INSERT \(or) INTO segment VALUES ((SELECT sha256 FROM trained_index WHERE id = \(trained)), '\(sha)', '', '\(policy)', \(format), '\(digest)', \(number(3..<6)), 0, \(now))",
      ]
    case 14:
      let (output, digest) = (number(0..<3), ContentDigest.of("output \(random.next())").hex)
      guard number(0..<3) > 0 else {
        return ["DELETE FROM output_shard WHERE version_id = \(version) AND ordinal = \(output)"]
      }
      return [
        "INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, created_at) VALUES ('\(digest)', 'artifacts', 'output-shard', 9, '\(digest)', \(now))",
        "INSERT \(or) INTO output_shard VALUES (\(version), \(output), '\(digest)', 0, 1, 0, 10, 10, 9, '\(sha)', \(now), NULL, NULL)",
      ]
    default:
      let next = ["deleting", "deleted", "present"][number(0..<3)]
      return [
        "UPDATE \(or) stored_bytes SET state = '\(next)', deleting_at = \(now) WHERE sha256 = (SELECT sha256 FROM stored_bytes ORDER BY sha256 LIMIT 1 OFFSET \(number(0..<12)))"
      ]
    }
  }
}

@Suite struct TotalsTests {
  /// The views that now read totals, as they were when they counted.
  private static let countingViews: [(name: String, sql: String)] =
    [
      (
        "v_storage",
        """
        CREATE TEMP VIEW counting_v_storage AS
        SELECT 'shard' AS kind, count(*) AS files, coalesce(sum(byte_count), 0) AS bytes FROM stored_bytes
        WHERE kind = 'shard' AND state <> 'deleted'
        UNION ALL
        SELECT kind, count(*), sum(byte_count) FROM stored_bytes WHERE kind <> 'shard' AND state <> 'deleted' GROUP BY kind
        """
      )
    ] + oldViews

  private static let oldViews: [(name: String, sql: String)] = [
    ("v_source", 0), ("v_build_progress", 0), ("v_version", 1),
  ].compactMap { name, migration in
    let text = migrations[migration].sql
    guard let start = text.range(of: "CREATE VIEW \(name) "),
      let end = text.range(of: ";\n", range: start.upperBound..<text.endIndex)
    else { return nil }
    let body = text[start.upperBound..<end.lowerBound]
    return (name, "CREATE TEMP VIEW counting_\(name) \(body)")
  }

  @Test(arguments: 0..<8) func totalsAreWhatThereIsToCount(group: Int) throws {
    #expect(Self.countingViews.count == 4)
    for seed in 0..<25 {
      var writer = try RandomWriter(seed: UInt64(group * 25 + seed))
      try writer.queue.writeWithoutTransaction { database in
        for view in Self.countingViews { try database.execute(sql: view.sql) }
      }
      for step in 0..<120 {
        try writer.write()
        if step % 12 == 11 { try compare(writer.queue, "seed \(group * 25 + seed), step \(step)") }
      }
      #expect(writer.accepted > 30, "seed \(group * 25 + seed) has tried little")
    }
  }

  private func compare(_ queue: DatabaseQueue, _ place: String) throws {
    try queue.read { (database: Database) throws -> Void in
      // To prepare them takes longer than to run them, and each is asked ten times.
      func rows(_ sql: String) throws -> [Row] { try Row.fetchAll(database.cachedStatement(sql: sql)) }
      for table in TotalsTable.all {
        let kept = try rows("SELECT * FROM \(table.name) ORDER BY 1, 2")
        let counted = try rows("SELECT * FROM (\(table.truth)) ORDER BY 1, 2")
        #expect(kept.map(Self.values) == counted.map(Self.values), "\(table.name), \(place)")
      }
      for view in Self.countingViews {
        let slow = try rows("SELECT * FROM counting_\(view.name) ORDER BY 1")
        // The view may have got columns since.
        let columns = slow.first.map { $0.columnNames.joined(separator: ", ") } ?? "*"
        let fast = try rows("SELECT \(columns) FROM \(view.name) ORDER BY 1")
        #expect(fast.map(Self.values) == slow.map(Self.values), "\(view.name), \(place)")
      }
    }
  }

  private static func values(_ row: Row) -> [DatabaseValue] { Array(row.databaseValues) }

  @Test func wrongTotalsAreFoundAndCountedAgain() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    #expect(try lake.catalog.wrongTotals() == [])
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write {
      try $0.execute(
        sql: """
          DROP TRIGGER version_total_is_kept;
          UPDATE stored_total SET file_count = 0 WHERE kind = 'segment';
          UPDATE shard_total SET byte_count = byte_count + 1 WHERE state = 'present';
          DELETE FROM version_total WHERE version_id = 1;
          """)
    }
    #expect(try lake.catalog.wrongTotals() == ["shard_total", "version_total", "stored_total"])
    try lake.catalog.recountTotals()
    #expect(try lake.catalog.wrongTotals() == [])
  }

  @Test(arguments: [1, 2, 9, 10]) func anOldCatalogIsCountedWhenItIsMigrated(schema: Int) throws {
    // What was written under an old schema: the rows of a full lake, copied.
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: schema, to: path)
    let catalog = try LakeCatalog.open(root: directory.path, writing: "test")
    #expect(try catalog.wrongTotals() == [])
    #expect(try catalog.cachedByteCount() == 19)
    let shardTotals = try CatalogFile.open(path).read {
      try Int.fetchOne($0, sql: "SELECT sum(shard_count) FROM shard_total")
    }
    #expect(shardTotals == 3)
  }
}
