import Base
import Catalog
import Foundation
import GRDB
import Migrations
import TestSupport
import Testing

/// Bytes once: shards, sources and purposes share a file by its digest.
@Suite struct StoredBytesTests {
  private func files(_ lake: TemporaryLake) throws -> [String] {
    let all = try FileManager.default.subpathsOfDirectory(atPath: lake.catalog.layout.shards)
    return all.filter { Disk.size(of: lake.catalog.layout.shards + "/" + $0) != nil }.sorted()
  }

  @Test func theSameBytesOfTwoSourcesAreOneFile() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let (first, second) = (try fixture.source("first", count: 1), try fixture.source("second", count: 2))
    let path = try #require(try fixture.fetch(0, of: first, "the same").path)
    #expect(try fixture.fetch(0, of: second, "the same").path == path)
    #expect(try fixture.fetch(1, of: second, "the same").path == path)
    #expect(try files(lake) == [path])
    #expect(try lake.catalog.cachedByteCount() == 8)
    let storage = try CatalogFile.open(lake.root + "/catalog.sqlite").read {
      try Row.fetchOne($0, sql: "SELECT files, bytes FROM v_storage WHERE kind = 'shard'").map {
        [$0["files"] as Int, $0["bytes"]]
      }
    }
    #expect(storage == [1, 8])
    #expect(try lake.catalog.unknownFiles().isEmpty)
    #expect(try lake.catalog.verify().checkedCount == 1)
    // One sharer lets go: only its row changes.
    try lake.catalog.evict(lake.catalog.shards(of: first)[0])
    #expect(try lake.catalog.shards(of: first)[0].state == .evicted)
    #expect(try lake.catalog.shards(of: second)[0].path == path)
    #expect(try files(lake) == [path])
    #expect(try lake.catalog.cachedByteCount() == 8)
    // Another gets other bytes; the last one lets go.
    try fixture.fetch(0, of: second, "revised")
    #expect(try files(lake).contains(path))
    #expect(try lake.catalog.cachedByteCount() == 15)
    try lake.catalog.evict(lake.catalog.shards(of: second)[1])
    #expect(try !files(lake).contains(path))
    #expect(try lake.catalog.cachedByteCount() == 7)
    // Back again, in the file of its first purpose.
    #expect(try fixture.fetch(1, of: second, "the same").path == path)
    #expect(try files(lake).contains(path))
    #expect(try lake.catalog.wrongTotals().isEmpty)
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func damageOfASharedFileIsOfAllItsShards() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let source = try fixture.source("images", count: 2)
    let path = try #require(try fixture.fetch(0, of: source, "the same").path)
    try fixture.fetch(1, of: source, "the same")
    try Disk.writeAtomically([1], to: lake.catalog.layout.shards + "/" + path)
    let damages = try lake.catalog.verify().damages
    #expect(damages.count == 1)
    #expect(try lake.catalog.repair(damages[0]) == .givenUp)
    #expect(try lake.catalog.shards(of: source).map(\.state) == [.evicted, .evicted])
    #expect(try files(lake) == [])
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  /// What any connection does to a shard, its bytes follow.
  @Test func bytesThatNoShardNeedsGo() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let source = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: source, "zero")
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "UPDATE shard SET state = 'evicting'; UPDATE shard SET state = 'evicted'") }
    #expect(try files(lake).count == 1)
    #expect(try lake.catalog.cachedByteCount() == 4)
    try lake.catalog.settleInterruptedShards()
    #expect(try files(lake) == [])
    #expect(try lake.catalog.cachedByteCount() == 0)
  }

  @Test func anArtifactIsWhereTheCatalogSaysAndWhatItWasMadeForFirst() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let digest = try fixture.write("rows", as: .nearestImages)
    try lake.catalog.recordNearest(.nearestImages, of: .of("a"), digest: digest, byteCount: 4, pairCount: 1)
    let path = try lake.catalog.path(of: .nearestImages, digest)
    #expect(try lake.catalog.path(of: .evaluationTruth, digest) == path)
    try lake.catalog.recordNearest(.evaluationTruth, of: .of("b"), digest: digest, byteCount: 4, pairCount: 1)
    #expect(try lake.catalog.nearestImages(of: .of("a")) == digest)
    #expect(try lake.catalog.nearestImages(of: .of("b")) == digest)
    let kinds = try CatalogFile.open(lake.root + "/catalog.sqlite").read {
      try Row.fetchAll($0, sql: "SELECT kind, files FROM v_storage ORDER BY kind").map {
        "\($0[0] as String) \($0[1] as Int)"
      }
    }
    #expect(kinds == ["nearest-images 1", "shard 0"])
  }

  // MARK: Lock texts

  @Test func theTextThatWasSealedIsKept() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "zero")
    let clip = try fixture.train("clip", images)
    let planned = try fixture.plan("laion", clip, images)
    #expect(try lake.catalog.lockText(of: planned) == nil)
    let version = try fixture.build("laion", clip, images)
    let file = try String(contentsOfFile: lake.catalog.layout.lockFilePath(version.name), encoding: .utf8)
    #expect(try lake.catalog.lockText(of: version) == file)
  }

  @Test func textsOfOlderVersionsAreTakenFromTheirLockFiles() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let old = try TemporaryDirectory(inMemory: true)
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: 9, to: old.path + "/catalog.sqlite")
    let versions = LakeLayout(root: old.path).versions
    try FileManager.default.copyItem(atPath: lake.catalog.layout.versions, toPath: versions)
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: "\(lake.catalog.layout.versions)/\(name)@1/\(name).lock.json", encoding: .utf8)
    }
    try Disk.writeAtomically(Array("changed".utf8), to: versions + "/old@1/old.lock.json")
    let laion = VersionName(name: "laion", number: 1)
    do {
      let catalog = try LakeCatalog.open(root: old.path, writing: "test")
      #expect(try catalog.lockText(of: catalog.version(laion)) == text("laion"))
      #expect(try catalog.lockText(of: catalog.version(VersionName(name: "old", number: 1))) == nil)
    }
    // One that is put back is taken up by the next command that writes.
    try Disk.writeAtomically(Array(text("old").utf8), to: versions + "/old@1/old.lock.json")
    let catalog = try LakeCatalog.open(root: old.path, writing: "test")
    #expect(try catalog.lockText(of: catalog.version(VersionName(name: "old", number: 1))) == text("old"))
  }

  // MARK: Catalogs from before

  /// Every row that a table had is in the table that took it over, column by
  /// column; and the public views say what they said.
  @Test func anOldCatalogLosesNothing() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fillEveryTable(lake)
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: 9, to: path)
    let tables = try rows(path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    let empty = try tables.filter { try rows(path, "SELECT * FROM \($0.dropFirst(5)) LIMIT 1").isEmpty }
    #expect(empty == [], "the old catalog has data of every kind")
    let questions =
      try [
        "v_source", "v_shard", "v_transfer", "v_location", "v_trained_index", "v_version", "v_version_input",
        "v_output_shard", "v_build_progress", "v_evaluation", "v_event", "v_pin", "v_setting",
      ].map { view in
        // What it had: a view may have got columns.
        let columns = try rows(path, "SELECT name FROM pragma_table_info('\(view)')").map { $0.dropFirst(5) }
        return "SELECT \(columns.joined(separator: ", ")) FROM \(view)"
      } + [
        "SELECT sum(files), sum(bytes) FROM v_storage", "SELECT * FROM lake",
        "SELECT id, source_id, priority, template, provenance, created_at FROM mirror",
        "SELECT shard_id, mirror_id, url, state, byte_count, etag, last_modified, last_error, checked_at FROM shard_location",
        "SELECT * FROM shard_revision", "SELECT * FROM shard_chunks",
        "SELECT * FROM trained_input", "SELECT * FROM training_iteration", "SELECT * FROM router_epoch",
        "SELECT * FROM trained_router", "SELECT * FROM reproduction", "SELECT * FROM evaluation_point",
        "SELECT * FROM evaluation_recall", "SELECT * FROM shard_total", "SELECT * FROM version_total",
        "SELECT inputs_sha256, sha256, pair_count, created_at FROM nearest_images",
        "SELECT trained_sha256, shard_sha256, bad_rows_policy, format_version, sha256, row_count, bad_row_count, created_at FROM segment",
      ]
    let before = try questions.map { try rows(path, $0) }
    let artifacts = try rows(
      path, "SELECT sha256, byte_count, path, state, created_at, verified_at, deleting_at FROM artifact")
    let shards = try rows(path, "SELECT path, verified_at FROM shard WHERE path IS NOT NULL")
    let catalog = try LakeCatalog.open(root: directory.path, writing: "test")
    for (question, answer) in zip(questions, before) {
      #expect(try rows(path, question) == answer, "\(question)")
    }
    #expect(
      try rows(
        path,
        "SELECT sha256, byte_count, path, state, created_at, verified_at, deleting_at FROM stored_bytes WHERE place = 'artifacts'"
      ) == artifacts)
    #expect(
      try rows(path, "SELECT path, verified_at FROM stored_bytes WHERE place = 'shards' AND state <> 'deleted'")
        == shards)
    #expect(
      try rows(path, "SELECT DISTINCT kind FROM stored_bytes b JOIN evaluation e ON e.truth_sha256 = b.sha256")
        == ["kind=\"evaluation-truth\""])
    #expect(try rows(path, "PRAGMA foreign_key_check") == [])
    #expect(try rows(path, "PRAGMA integrity_check") == ["integrity_check=\"ok\""])
    #expect(try catalog.wrongTotals() == [])
    // The same schema as that of a catalog that was never older, word by word.
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"
    #expect(try rows(path, schema) == rows(lake.root + "/catalog.sqlite", schema))
  }

  @Test func shardsThatHadAFileEachForTheSameBytesShareOne() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    try fixture.fetch(0, of: images, "twice")
    try fixture.fetch(1, of: images, "other")
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    try OldCatalog.write(lake.root + "/catalog.sqlite", asSchema: 9, to: path)
    // As tarn would have left it: both have the bytes, under paths of their own.
    let layout = LakeLayout(root: directory.path)
    let digest = ContentDigest.of("twice")
    let paths = ["0.npy", "1.npy"].map { LakeLayout.shardPath(source: "images", shard: $0, digest: digest) }
    do {
      let queue = try CatalogFile.open(path)
      try queue.write {
        try $0.execute(
          sql: """
            INSERT INTO shard_revision SELECT shard_id + 1, 2, sha256, byte_count, row_count, trust, NULL, NULL, NULL,
              observed_at FROM shard_revision WHERE shard_id = 1;
            UPDATE shard SET current_revision = 2, path = ? WHERE id = 2
            """, arguments: [paths[1]])
      }
      try queue.close()
    }
    try Disk.makeDirectory(layout.shards + "/images")
    for path in paths { try Disk.writeAtomically(Array("twice".utf8), to: layout.shards + "/" + path) }
    let catalog = try LakeCatalog.open(root: directory.path, writing: "test")
    #expect(try catalog.shards(of: images).map(\.path) == [paths[0], paths[0]])
    #expect(try catalog.unknownFiles().isEmpty)
    try catalog.settleInterruptedShards()
    #expect(Disk.size(of: layout.shards + "/" + paths[0]) == 5)
    #expect(Disk.size(of: layout.shards + "/" + paths[1]) == nil)
    #expect(try catalog.verify().damages.isEmpty)
    #expect(try catalog.cachedByteCount() == 5)
  }

  private func rows(_ path: String, _ sql: String) throws -> [String] {
    let queue = try CatalogFile.open(path)
    defer { try? queue.close() }
    return try queue.read { database in
      try Row.fetchAll(database, sql: sql).map { row in
        row.map { "\($0)=\($1 == .null ? "NULL" : "\($1)")" }.joined(separator: " ")
      }.sorted()
    }
  }
}

/// Each table has one INSERT in the code, which every writer uses.
@Suite struct InsertTests {
  @Test func eachTableHasOneInsert() throws {
    let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../Sources")
    var found: [String: [String]] = [:]
    let walk = try #require(FileManager.default.enumerator(atPath: sources.path))
    for case let path as String in walk where path.hasSuffix(".swift") {
      let text = try String(contentsOf: sources.appending(path: path), encoding: .utf8)
      for match in text.matches(of: /INSERT (?:OR [A-Z]+ )?INTO ([a-z_]+)/) {
        found[String(match.1), default: []].append(path)
      }
    }
    #expect(found.filter { $0.value.count > 1 }.isEmpty)
    #expect(found.values.joined().allSatisfy { $0.hasPrefix("Catalog/Rows/") })
    let lake = try TemporaryLake(inMemory: true)
    let tables = try CatalogFile.open(lake.root + "/catalog.sqlite").read {
      try String.fetchAll(
        $0,
        sql: """
          SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%_total'
          """)
    }
    let byMigrations = [
      "place", "purpose", "trust", "modality", "dtype", "training_method", "codec", "router_method", "duplicate_file",
    ]
    #expect(Set(found.keys) == Set(tables).subtracting(byMigrations))
  }
}
