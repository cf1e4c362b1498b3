import Base
import Catalog
import Foundation
import GRDB
import Migrations
import Testing
import TestSupport

@Suite struct BackupTests {
  @Test func aBackupIsTheLakesState() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let path = lake.root + "/backup.sqlite"
    let summary = try lake.catalog.backup(to: path)
    #expect(summary.schemaNumber == LakeCatalog.schemaNumber)
    #expect(try summary.newestEventHash == lake.catalog.events().last?.hash)
    // > 18, 19  File format write and read version. 1 for legacy; 2 for WAL.
    // https://www.sqlite.org/fileformat2.html
    #expect(Array(try Data(contentsOf: URL(fileURLWithPath: path))[18...19]) == [1, 1], "it needs a second file")
    // Put back in place of the catalog of another directory, it opens.
    let restored = try TemporaryDirectory(inMemory: true)
    try FileManager.default.copyItem(atPath: path, toPath: restored.path + "/catalog.sqlite")
    let catalog = try LakeCatalog.open(root: restored.path, writing: "test")
    #expect(try catalog.versions().map(\.name) == lake.catalog.versions().map(\.name))
    #expect(try catalog.firstBrokenEvent() == nil)
    _ = try catalog.pin(VersionName(name: "laion", number: 1), reason: "still a writer's catalog")
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake.root).filter { $0.contains(".tmp") } == [])
  }

  @Test func theLogOfTheCatalogBeforeIsNotTakenForIts() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 1)
    let backup = lake.root + "/backup.sqlite"
    _ = try lake.catalog.backup(to: backup)
    _ = try lake.addSource("more", count: 200)
    // What a command that was killed leaves, and who puts a backup back may forget.
    let restored = try TemporaryDirectory(inMemory: true)
    let (catalog, log) = (restored.path + "/catalog.sqlite", restored.path + "/catalog.sqlite-wal")
    try FileManager.default.copyItem(atPath: backup, toPath: catalog)
    try FileManager.default.copyItem(atPath: lake.root + "/catalog.sqlite-wal", toPath: log)
    let byteCount = try #require(Disk.size(of: log))
    #expect(byteCount > 0)
    for writing in [nil, "test", nil] as [String?] {
      let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: restored.path, writing: writing) }
      #expect(error?.code == .noLake)
      #expect(error?.hint?.contains("remove \(log) and ") == true, "\(String(describing: error))")
    }
    let error = #expect(throws: TarnError.self) {
      try QueryConsole(layout: LakeLayout(root: restored.path), timeLimit: nil)
    }
    #expect(error?.code == .noLake)
    #expect(FileManager.default.contentsEqual(atPath: backup, andPath: catalog))
    #expect(Disk.size(of: log) == byteCount)
    try FileManager.default.removeItem(atPath: log)
    let opened = try LakeCatalog.open(root: restored.path, writing: "test")
    #expect(try opened.sources().map(\.name) == ["images"])
  }

  @Test func aReaderCanTakeIt() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 1)
    let reader = try LakeCatalog.open(root: lake.root, writing: nil)
    _ = try reader.backup(to: lake.root + "/backup.sqlite")
    _ = try lake.addSource("more", count: 1)
    // An earlier backup gives way to the new one.
    _ = try reader.backup(to: lake.root + "/backup.sqlite")
    let queue = try CatalogFile.open(lake.root + "/backup.sqlite")
    #expect(try queue.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM source") } == 2)
  }

  @Test func itOverwritesNothingElse() throws {
    let lake = try TemporaryLake(inMemory: true)
    let path = lake.root + "/features.npy"
    try Disk.writeAtomically([1, 2, 3], to: path)
    for target in [path, lake.root + "/catalog.sqlite"] {
      let error = #expect(throws: TarnError.self) { try lake.catalog.backup(to: target) }
      #expect(error?.code == .conflict)
    }
    #expect(Disk.size(of: path) == 3)
  }

  @Test func aDamagedCatalogIsNotBackedUp() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 3)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite", lax)
    try queue.write {
      try $0.execute(sql: "INSERT INTO transfer SELECT 1, 99, NULL, '', '', '', 0, 0, NULL, 'failed', NULL")
    }
    let error = #expect(throws: TarnError.self) { try lake.catalog.backup(to: lake.root + "/backup.sqlite") }
    #expect(error?.code == .integrity)
    #expect(Disk.size(of: lake.root + "/backup.sqlite") == nil)
  }

  /// No foreign keys, as in the sqlite3 shell.
  private var lax: Configuration {
    var configuration = Configuration()
    configuration.foreignKeysEnabled = false
    return configuration
  }

  @Test func aDamagedOldCatalogIsNotMigrated() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: 1, to: path)
    do {
      let queue = try CatalogFile.open(path, lax)
      try queue.write {
        try $0.execute(sql: "INSERT INTO transfer SELECT 99, 99, NULL, '', '', '', 0, 0, NULL, 'failed', NULL")
      }
      try queue.close()
    }
    let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: directory.path, writing: "test") }
    #expect(error?.code == .integrity)
    let number = try CatalogFile.open(path).read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
    #expect(number == 1)
    let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
    #expect(files.filter { $0.contains("backup") } == [])
  }

  @Test func anOldCatalogIsBackedUpAndMigrated() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    let first = try #require(migrations.first)
    do {
      let queue = try CatalogFile.open(path)
      try queue.write { database in
        try database.execute(sql: first.sql)
        try database.execute(
          sql: """
            PRAGMA user_version = 1;
            PRAGMA application_id = \(LakeCatalog.applicationID);
            INSERT INTO lake VALUES (1, '00000000-0000-0000-0000-000000000000', 'shards', 'artifacts', '2026');
            INSERT INTO source VALUES (1, 'images', 'image', 4, 'float16', '2026');
            INSERT INTO mirror VALUES (1, 1, 0, 'http://localhost/{ordinal}.npy', 'original', '2026');
            INSERT INTO shard (id, source_id, ordinal, name, changed_at) VALUES (1, 1, 0, '0.npy', '2026');
            INSERT INTO shard_location (shard_id, mirror_id, url) VALUES (1, 1, 'http://localhost/0.npy');
            """)
      }
      try queue.close()
    }
    // A reader does not migrate, and says who does; a copy is taken of any schema.
    let error = #expect(throws: TarnError.self) { try LakeCatalog.open(root: directory.path, writing: nil) }
    #expect(error?.code == .schemaOlder)
    let older = try LakeCatalog.open(root: directory.path, writing: nil, orOlder: true)
    #expect(try older.backup(to: directory.path + "/copy.sqlite").schemaNumber == 1)
    let catalog = try LakeCatalog.open(root: directory.path, writing: "test")
    let backup = path + ".backup-schema1"
    #expect(
      try CatalogFile.open(backup).read { try Int.fetchOne($0, sql: "PRAGMA user_version") } == 1)
    #expect(
      try CatalogFile.open(path).read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
        == LakeCatalog.schemaNumber)
    let source = try catalog.source(named: "images")
    try CatalogFixture(catalog).fetch(0, of: source, "zero")
    // It had no history; so its sources are older than that, and no lie.
    #expect(try catalog.events().map(\.verb) == ["migrated", "fetched"])
    #expect(try catalog.verify().damages.isEmpty)
  }
}
