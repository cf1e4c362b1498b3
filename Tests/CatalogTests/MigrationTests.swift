import Base
import Catalog
import Foundation
import GRDB
import Migrations
import Testing
import TestSupport

@Suite struct MigrationTests {
  /// Digests of the migrations that have landed: a landed file is never edited.
  private static let landed: [String: String] = [
    "M0001_catalog": "5c423b15f9bc16e5d8caad8b3b104ea4f92d23723f565ebd9f109e73804966ee",
    "M0002_history": "c3a8fbe4c2882798dd50b2d0c53b06c98ceac7ebaecdf0701ee3e726ba904ca3",
    "M0003_totals": "d4439a065306eb83be9dc56f0fa7d0c2cbeee01dd8189233bc122c6ecd551a2a",
    "M0004_evaluation": "4cc723f36ec031f9444115ba64745d11d9861c2711850e390a01120cdae69838",
    "M0005_chunks": "30844835ab049d3228a2df4efc6baf46a3e2bad3d7b646f88851fba846933a62",
    "M0006_router": "af1123ba2f24ec0c8ebb96b8e4362c3b69fe906849d24e0fb5d88daa5b8623f2",
    "M0007_locations": "558758f67cc0c9954e0a5219b723c26e3fe1c80d9b6311cd40c578d8d2c0d21c",
    "M0008_views": "09536fa45eeed20cc92cf1739b29e9bf3e94b022471ab2d4ae42c09580c15bd0",
    "M0009_ranges": "e490a0e079955d6a1a8e7bfe91611a949980dedc0daaaccd923574ac0b536bd1",
    "M0010_indexes": "f70c8f24bca42482667dd4f9ff5c3dddcf8d90c96d9f49d81b6004be568233b0",
    "M0011_stored_bytes": "5ecccba38e8aa3e982cb46370a801f26e72ada3c76d60ff8412a7961a6c9ba49",
    "M0012_guards": "f341eabf77bca2c12d64d2ca2053f3777f7400f5429b890e228b12030214ddbc",
    "M0013_views": "0233c7cc1f2312daf32695c05a308ac6856d087b5859f58e34b419befb52ec7c",
    "M0014_trust": "cf1d0b182e05e5b0410f0e4f1071a066a08d66d57b2dfe330d839ad081f3daea",
    "M0015_ways_back": "214c39131fe4b54ff461f24a473dacea0a97007c7d2a0d114de2db6824bbc8cf",
    "M0016_tombstones": "dba5a9b02b174603fc2facd4f807013a93ff7124b86a454c6a45459558dbe401",
    "M0017_published": "514956e2996f2e51c60f530e0000ab543561d05d25e14b18af367113c852bf8f",
    "M0018_listings": "3140543535d4747cc6e7740a0fbf27b9441bfe5f189bef8e966e6e48b604b4e5",
    "M0019_adopted": "49952c56cb211ba436d2b16b1799bf93b3cc9aa212590b279ae9ff65e60b21e7",
    "M0020_commands": "cc3fb3171e8ea7932eedbf2a09ad5b6a85102472de10bef6f60e05b00890356f",
    "M0021_arrays": "6ee91662ab149fa6e0f9b8f181c0b6b401e724f159643d38c1ad3d053c0bde1f",
    "M0022_exclusions": "43108e20f7740c23718282fdb6b9047b738e9742d9ec48727be51b548ab56996",
    "M0023_companions": "f3e9ba78a934070f6e4c8adc51d1b55e3dd29504960fa5b0459e461954da5bc8",
    "M0024_refine": "a304df02933f073073dfb8a6c10f8b86069141b10ee38a18ea570352355d4554",
    "M0025_rules": "ce52eb22b0b9afc57bbf3dff1969c4281021bf0d4107c42c3f1788f3e61d394a",
    "M0026_training": "7b7fb68b028f0ff4ce3a72185bb6a7f2a3925a589e289c594401e1fcba9fccc2",
    "M0027_readers_rules": "8a3c4f84864b57ab139c6959867f278d750a46b33f76a312c24cdc4b79857172",
    "M0028_probed_sizes": "a29cad87f056ce95f2f5316ecb091b2b11a61f952a7ac88d2243e3745e6f285c",
  ]

  @Test func landedMigrationsAreUnchanged() {
    for migration in migrations {
      guard let digest = Self.landed[migration.name] else { continue }
      #expect(ContentDigest.of(migration.sql).hex == digest, "\(migration.name) was edited")
    }
    #expect(migrations.map(\.number) == Array(1...migrations.count))
  }

  /// Views.sql as each schema has it: no change of it without a new number.
  private static let landedViews: [Int: String] = [
    10: "5dbe2c91fc41800eb38fb99a57f7045dbf630e94069efd8c2a4937b51efcc2d9",
    12: "4080e737dbe8fa1250bff4700ecd3bd0737c569a0fa822f1bcd4df4d5404eccd",
    13: "570177ba4c5e6702fa48f21314a75eefbca553d0bf9a732eef110931d2452fa2",
    14: "570177ba4c5e6702fa48f21314a75eefbca553d0bf9a732eef110931d2452fa2",
    15: "570177ba4c5e6702fa48f21314a75eefbca553d0bf9a732eef110931d2452fa2",
    16: "715e6ba1cef0f2ae9355924d6150442ddd92d077a39ccf33d64a9fda01976831",
    17: "57f6402ca5df2a94d7e403f6d9ccc4b7731886d639de5804a4aa3f73748ec643",
    26: "4932696df1081e241a8793e83161e01c5d377d111356462ee549140f53c77c6f",
    27: "83a5c79d9480402ac983bc5d67730949b6c90229692010b622dfb5651ee3521d",
    28: "2101865d051e8e36e4e4f12406f9a8bfe6e4fea880af041b04653f265cc3e28d",
  ]

  @Test func theSchemaNumberStandsForTheViews() {
    let digest = ContentDigest.of(views).hex
    #expect(
      digest == Self.landedViews[LakeCatalog.schemaNumber],
      "Views.sql is another than schema \(LakeCatalog.schemaNumber) has: add a migration, empty if no table changes")
  }

  @Test(arguments: 1..<firstWithoutViews) func anOldCatalogGetsTheViewsOfANewOne(schema: Int) throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: schema, to: path)
    let old = try CatalogFile.open(path)
    try old.write {
      try $0.execute(sql: "CREATE VIEW v_left_over AS SELECT 1; CREATE VIEW \"my own\" AS SELECT shard FROM v_shard")
    }
    try old.close()
    try withExtendedLifetime(LakeCatalog.open(root: directory.path, writing: "test")) {}
    func schemaRows(_ path: String) throws -> [[String?]] {
      try CatalogFile.open(path).read { database in
        try Row.fetchAll(
          database,
          sql: """
            SELECT name, sql FROM sqlite_schema WHERE type IN ('view', 'index') AND name <> 'my own' ORDER BY name
            """
        ).map { [$0["name"], $0["sql"]] }
      }
    }
    #expect(try schemaRows(path) == schemaRows(lake.root + "/catalog.sqlite"))
    #expect(try CatalogFile.open(path).read { try String.fetchAll($0, sql: "SELECT * FROM \"my own\"") }.count == 3)
  }

  /// What the views of an old schema said of a full lake, one with a hole, they say still.
  @Test func migratingChangesNoAnswer() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let (catalog, fixture) = (lake.catalog, CatalogFixture(lake.catalog))
    let images = try catalog.source(named: "images")
    let trained = try fixture.train("holed", images, seed: 8)
    let missing = try catalog.shards(of: images)[2]
    _ = try catalog.planVersion(
      VersionPlan(
        name: "holed", trained: trained, source: images, shardsPerOutput: 1, missingPolicy: .skip, badRowsPolicy: .fail,
        spec: "{}", environment: "{}",
        inputs: [
          VersionPlan.Input(
            shardID: missing.id, shardOrdinal: 2, content: .hole, outputOrdinal: 0, firstID: 10, rowCount: 5)
        ]))
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: 9, to: path)
    func answers() throws -> [String: [[String: DatabaseValue]]] {
      try CatalogFile.open(path).read { database in
        let names = try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'view'")
        return try Dictionary(
          uniqueKeysWithValues: names.map { name in
            (
              name,
              try Row.fetchAll(database, sql: "SELECT * FROM \(name) ORDER BY 1, 2").map { row in
                Dictionary(row.map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
              }
            )
          })
      }
    }
    let before = try answers()
    try withExtendedLifetime(LakeCatalog.open(root: directory.path, writing: "test")) {}
    let after = try answers()
    // There may be new views, and a view may have got columns.
    #expect(Set(before.keys).isSubset(of: after.keys))
    for (view, rows) in before {
      let names = rows.first.map { Set($0.keys) } ?? []
      #expect(rows == after[view]?.map { $0.filter { names.contains($0.key) } }, "\(view)")
    }
  }

  /// Names and text of everything in a catalog, and the rows that came with it.
  private func made(by make: (Database) throws -> Void) throws -> [[String]] {
    let queue = try DatabaseQueue()
    return try queue.writeWithoutTransaction { database in
      try database.execute(sql: "PRAGMA foreign_keys = OFF")
      try make(database)
      let objects = try Row.fetchAll(database, sql: "SELECT * FROM sqlite_schema ORDER BY type, name")
      let texts = objects.map { row in
        // Versions of SQLite quote what they rename in their own ways.
        [row["type"] as String, row["name"], row["tbl_name"], (row["sql"] as String? ?? "").replacing("\"", with: "")]
      }
      let tables = objects.filter { $0["type"] == "table" }.map { $0["name"] as String }
      let rows = try tables.flatMap { table in
        try Row.fetchAll(database, sql: "SELECT * FROM \(table)").map { "\($0)" }.sorted().map { [table, $0] }
      }
      return texts + rows
    }
  }

  @Test func aNewCatalogIsWhatTheStepsMakeOfAnEmptyOne() throws {
    let new = try made { try $0.execute(sql: tables) }
    let stepped = try made { try OldCatalog.step($0, toSchema: migrations.count) }
    #expect(new.count > 300)
    for (one, other) in zip(new, stepped) where one != other {
      Issue.record("Schema.sql has \(one), the steps make \(other): scripts/schema.py writes it anew")
      break
    }
    #expect(new.count == stepped.count, "scripts/schema.py writes Schema.sql anew")
  }

  @Test func aNewCatalogSaysWhatItIs() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.read { (database: Database) throws -> Void in
      #expect(try Int32.fetchOne(database, sql: "PRAGMA application_id") == LakeCatalog.applicationID)
      #expect(try Int.fetchOne(database, sql: "PRAGMA user_version") == LakeCatalog.schemaNumber)
      #expect(try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal")
      #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
    }
  }

  @Test func everyTableIsStrict() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let lax = try queue.read { database in
      try String.fetchAll(
        database,
        sql: """
          SELECT name FROM pragma_table_list
          WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'
          """)
    }
    #expect(lax == [])
  }

  @Test func everyForeignKeyIsIndexed() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.read { (database: Database) throws -> Void in
      let tables = try String.fetchAll(
        database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      for table in tables {
        let keys = try Row.fetchAll(
          database, sql: "SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq", arguments: [table])
        let indexes = try String.fetchAll(database, sql: "SELECT name FROM pragma_index_list(?)", arguments: [table])
        let leading = try indexes.map { index in
          try String.fetchOne(
            database, sql: "SELECT name FROM pragma_index_info(?) WHERE seqno = 0", arguments: [index])
        }
        let primary = try String.fetchOne(
          database, sql: "SELECT name FROM pragma_table_info(?) WHERE pk = 1", arguments: [table])
        // Rows of lists never go, so that nobody looks for who names them.
        let lists = ["place", "purpose", "trust", "modality", "dtype", "training_method", "codec", "router_method"]
        for key in keys where key["seq"] as Int == 0 && !lists.contains(key["table"]) {
          let column: String = key["from"]
          #expect(leading.contains(column) || primary == column, "\(table).\(column) has no index")
        }
      }
    }
  }

  @Test func aNewerCatalogIsRefused() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA user_version = 9999") }
    let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: lake.root, writing: nil) }
    #expect(error?.code == .schemaNewer)
  }

  @Test func anotherDatabaseIsNotALake() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let queue = try CatalogFile.open(directory.path + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "CREATE TABLE t (x)") }
    let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: directory.path, writing: nil) }
    #expect(error?.code == .noLake)
  }

  @Test func aSecondWriterIsToldWhoHoldsTheLock() throws {
    let lake = try TemporaryLake(inMemory: true)
    let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: lake.root, writing: "sync") }
    #expect(error?.code == .locked)
    #expect(error?.message.contains("pid \(ProcessInfo.processInfo.processIdentifier), init") == true)
    _ = try LakeCatalog.open(root: lake.root, writing: nil)
  }
}
