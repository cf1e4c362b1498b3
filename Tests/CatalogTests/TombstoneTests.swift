// Shards that were dropped: their places and ids stay, the schema keeps others from
// touching them, documents written before and after tell the same version, and there is
// a way back.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct TombstoneTests {
  let lake: TemporaryLake
  init() throws { lake = try TemporaryLake(inMemory: true) }

  private func damages() throws -> [String] {
    try lake.catalog.verify().damages.map { "\($0.file.name): \($0.message)" }
  }

  private func source(count: Int = 5, fetched: Range<Int> = 0..<5) throws -> Source {
    let source = try CatalogFixture(lake.catalog).source("images", count: count)
    for ordinal in fetched { try CatalogFixture(lake.catalog).fetch(ordinal, of: source, "bytes \(ordinal)") }
    return source
  }

  private func drop(_ ordinals: String, _ source: Source) throws -> DroppedShards {
    try lake.catalog.dropShards(OrdinalSet(parsing: ordinals), of: source)
  }

  @Test func aDroppedShardKeepsItsPlaceAndCanBeTakenBack() throws {
    let source = try source()
    let before = try lake.rows("SELECT ordinal || ' ' || shard || ' ' || state FROM v_shard")
    let places = try lake.catalog.shards(of: source).map { "\($0.id) \($0.ordinal) \($0.name)" }
    let dropped = try drop("1,3-4", source)
    #expect(dropped.removed.isEmpty && dropped.tombstones == ["1.npy", "3.npy", "4.npy"])
    #expect(try lake.catalog.shards(of: source).map { "\($0.id) \($0.ordinal) \($0.name)" } == places)
    #expect(try lake.catalog.shardsInUse(of: source).map(\.ordinal) == [0, 2])
    #expect(try lake.catalog.shardsInUse(of: source, ordinals: OrdinalSet(parsing: "0-3")).map(\.ordinal) == [0, 2])
    let asked = #expect(throws: TarnError.self) {
      try lake.catalog.shardsInUse(of: source, ordinals: OrdinalSet(parsing: "3-4"))
    }
    #expect(asked?.hint?.contains("--shards 3 --undo") == true)
    // Each is in one state, whatever of its bytes is here.
    #expect(try lake.rows("SELECT shards || ' ' || dropped || ' ' || present FROM v_source") == ["5 3 2"])
    #expect(try lake.rows("SELECT shard || ' ' || rows FROM v_shard WHERE state = 'dropped'").count == 3)
    // Again it changes nothing, and says nothing in the history.
    let events = try lake.rows("SELECT count(*) FROM v_event")
    let again = try drop("3", source)
    #expect(again.removed.isEmpty && again.tombstones.isEmpty)
    #expect(try lake.rows("SELECT count(*) FROM v_event") == events)
    #expect(try damages() == [])
    #expect(try lake.catalog.takeBackShards(OrdinalSet(parsing: "0-4"), of: source) == ["1.npy", "3.npy", "4.npy"])
    #expect(try lake.rows("SELECT ordinal || ' ' || shard || ' ' || state FROM v_shard") == before)
    #expect(try lake.catalog.takeBackShards(OrdinalSet(parsing: "0-4"), of: source).isEmpty)
    #expect(try damages() == [])
  }

  @Test func oneShardStays() throws {
    let source = try source(count: 2, fetched: 0..<2)
    _ = try drop("0", source)
    let error = #expect(throws: TarnError.self) { try drop("1", source) }
    #expect(error?.message.contains("no shards") == true)
  }

  /// What rests on a shard is named, and what does not is no hindrance.
  @Test func whatRestsOnAShardIsNamed() throws {
    let source = try source(count: 6, fetched: 0..<2)
    let fixture = CatalogFixture(lake.catalog)
    let trained = try fixture.train("t", source)
    let version = try fixture.plan("v", trained, source)
    for ordinal in 2..<6 { try fixture.fetch(ordinal, of: source, "bytes \(ordinal)") }
    let planned = #expect(throws: TarnError.self) { try drop("1", source) }
    #expect(planned?.code == .conflict && planned?.message.contains("v@1") == true)
    #expect(planned?.hint?.contains("tarn abandon v@1") == true)
    _ = try drop("3", source)
    _ = try lake.catalog.abandon(version.name)
    let pinned = #expect(throws: TarnError.self) { try drop("1", source) }
    #expect(pinned?.message.contains("the trained index t rests on it") == true, "\(pinned?.message ?? "")")
    #expect(try lake.rows("SELECT shard FROM v_shard WHERE state = 'dropped'") == ["3.npy"])
    #expect(try damages() == [])
  }

  /// The schema refuses by itself what the code asks before.
  @Test(arguments: [
    "UPDATE shard SET dropped_row_count = 6 WHERE ordinal = 3",
    "UPDATE shard SET dropped_row_count = -1 WHERE ordinal = 4",
    "UPDATE shard SET dropped_row_count = 6 WHERE ordinal = 4",
    "UPDATE shard SET dropped_row_count = 5 WHERE ordinal = 0",
    "UPDATE shard SET state = 'fetching', reserved_byte_count = 1 WHERE ordinal = 3",
    "UPDATE shard SET reserved_byte_count = 1 WHERE ordinal = 3",
    "UPDATE shard SET state = 'present' WHERE ordinal = 3",
    "INSERT INTO shard (source_id, ordinal, name, changed_at, dropped_row_count) VALUES (1, 9, '9.npy', 'x', 1)",
    "INSERT INTO index_version (name, number, state, trained_index_id, source_id, shards_per_output, missing_policy, "
      + "bad_rows_policy, spec, spec_sha256, environment, created_at) SELECT 'w', 1, 'planned', trained_index_id, source_id, "
      + "1, 'fail', 'fail', '{}', 'x', '{}', 'x' FROM index_version WHERE id = 1; "
      + "INSERT INTO version_input (version_id, ordinal, shard_id, revision, output_ordinal, first_id, row_count) "
      + "SELECT 2, 0, id, current_revision, 0, 70, 5 FROM shard WHERE ordinal = 3",
    "INSERT INTO trained_input (trained_index_id, role, ordinal, shard_id, revision) "
      + "SELECT 2, 'image', 7, id, current_revision FROM shard WHERE ordinal = 3",
  ])
  func theSchemaGuardsTombstones(statement: String) throws {
    let source = try source(count: 5, fetched: 0..<2)
    let fixture = CatalogFixture(lake.catalog)
    let trained = try fixture.train("t", source)
    _ = try fixture.planTraining("open", source, seed: 2)
    _ = try fixture.plan("v", trained, source)
    for ordinal in 2..<5 { try fixture.fetch(ordinal, of: source, "bytes \(ordinal)") }
    _ = try drop("3", source)
    try lake.catalog.evict(lake.catalog.shards(of: source)[3])
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    for pragma in ["", "PRAGMA ignore_check_constraints = ON", "PRAGMA foreign_keys = OFF"] {
      let error = #expect(throws: DatabaseError.self, "\(pragma)") {
        try queue.writeWithoutTransaction { database in
          if !pragma.isEmpty { try database.execute(sql: pragma) }
          try database.inTransaction {
            try database.execute(sql: statement)
            return .rollback
          }
        }
      }
      #expect(error?.message?.contains("dropped") == true, "\(error?.message ?? "")")
    }
  }

  @Test func theHistoryTellsWhatIsDropped() throws {
    let source = try source()
    _ = try drop("1", source)
    try lake.catalog.rename(source, to: "pictures")
    #expect(try damages() == [])
    try CatalogFile.open(lake.root + "/catalog.sqlite").write {
      try $0.execute(sql: "UPDATE shard SET dropped_row_count = NULL")
    }
    #expect(try damages().contains { $0.contains("dropped shards") })
  }

  /// A document written before a shard was dropped, one written while it is, and one after
  /// it came back tell the same version; only the second needs the newer format.
  @Test func documentsOfAllTimesTellTheSameVersion() throws {
    let source = try source(count: 4, fetched: 0..<2)
    let fixture = CatalogFixture(lake.catalog)
    let sealed = try fixture.build("v", fixture.train("t", source), source)
    let early = try VersionExport(reading: lake.catalog.layout.documentPath(sealed.name))
    try fixture.fetch(2, of: source, "bytes 2")
    try fixture.fetch(3, of: source, "bytes 3")
    let text = try lake.catalog.export(sealed.name).text()
    #expect(early.format == "tarn-export-1" && !text.contains("dropped"))
    _ = try drop("2", source)
    #expect(try damages() == [])
    let during = try lake.catalog.export(sealed.name)
    #expect(during.format == "tarn-export-2")
    #expect(during.sources[0].shards.map { $0.dropped ?? false } == [false, false, true, false])
    #expect(during.sources[0].shards[2].rows == 5)
    let path = lake.root + "/during.json"
    try Disk.writeAtomically(Array(during.text().utf8), to: path)
    for document in [early, during, try VersionExport(reading: path)] {
      #expect(try lake.catalog.isSame(document, as: lake.catalog.export(sealed.name), of: sealed))
      #expect(document.verdict(segmentFormats: 1...9).isClean)
    }
    // Another tarn registers the same tombstone, of the same length.
    let other = try TemporaryLake(inMemory: true)
    let adopted = try other.catalog.adopt(
      during.sources[0], rowCounts: during.statedRowCounts(of: during.sources[0]))
    #expect(try other.catalog.shards(of: adopted).map(\.droppedRowCount) == [nil, nil, 5, nil])
    #expect(try other.catalog.verify().damages.isEmpty)
    // A format that says otherwise than the shards, and a tombstone that is needed.
    for (old, new) in [
      ("tarn-export-2", "tarn-export-1"), ("\"dropped\" : true", "\"dropped\" : false"),
    ] {
      try Disk.writeAtomically(Array(during.text().replacing(old, with: new).utf8), to: path)
      let read = try? VersionExport(reading: path)
      #expect(read?.verdict(segmentFormats: 1...9).isClean != true, "\(new)")
    }
    _ = try lake.catalog.takeBackShards(OrdinalSet(parsing: "2"), of: source)
    #expect(try lake.catalog.export(sealed.name).text() == text)
    #expect(try lake.catalog.isSame(during, as: lake.catalog.export(sealed.name), of: sealed))
    #expect(try damages() == [])
  }

  @Test func bytesOfADroppedShardGoWithGcAfterTheirGrace() throws {
    let source = try source()
    _ = try drop("1", source)
    #expect(try lake.catalog.garbage(GarbageOptions()).dropped.isEmpty)
    let later = GarbageOptions(grace: .zero, now: Date().addingTimeInterval(60))
    let plan = try lake.catalog.garbage(later)
    #expect(plan.dropped.map(\.name) == ["1.npy"] && plan.byteCount == "bytes 1".utf8.count)
    try lake.catalog.collect(plan, later)
    #expect(try lake.rows("SELECT present || ' ' || evicted || ' ' || dropped FROM v_source") == ["4 0 1"])
    #expect(try lake.catalog.takeBackShards(OrdinalSet(parsing: "1"), of: source) == ["1.npy"])
    #expect(try lake.rows("SELECT state FROM v_shard WHERE ordinal = 1") == ["evicted"])
    #expect(try damages() == [])
  }

  @Test func aNewShardIsNotCalledLikeADroppedOne() throws {
    let source = try source()
    _ = try drop("2", source)
    let error = #expect(throws: TarnError.self) {
      try lake.catalog.extend(source, with: [.init(name: "2.npy", urls: ["http://localhost/x/2.npy"])], after: 5)
    }
    #expect(error?.message.contains("was dropped") == true && error?.hint?.contains("--shards 2 --undo") == true)
  }
}
