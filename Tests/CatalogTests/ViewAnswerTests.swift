// What the views answer where a lake is not plain: dropped shards, sizes that mirrors say, how a version
// was measured and what built it, and what may hold an excluded row.

import Base
import Catalog
import GRDB
import Testing
import TestSupport

@Suite struct ViewAnswerTests {
  private let lake: TemporaryLake
  private let fixture: CatalogFixture

  init() throws {
    lake = try TemporaryLake(inMemory: true)
    fixture = CatalogFixture(lake.catalog)
  }

  @Test func eachShardOfASourceIsInOneState() throws {
    let source = try fixture.source("images", count: 5)
    try fixture.fetch(0, of: source, "shard zero")
    try fixture.fetch(1, of: source, "shard one")
    _ = try lake.catalog.dropShards(OrdinalSet(parsing: "1"), of: source)
    let states = ["registered", "present", "fetching", "evicted", "failed", "dropped"]
    let counts = try states.map { try lake.rows("SELECT \($0) FROM v_source").first ?? "" }
    #expect(counts == ["3", "1", "0", "0", "0", "1"])
    #expect(try lake.rows("SELECT shards - \(states.joined(separator: " - ")) FROM v_source") == ["0"])
    for state in states {
      #expect(
        try lake.rows("SELECT count(*) FROM v_shard WHERE state = '\(state)'")
          == lake.rows("SELECT \(state) FROM v_source"), "\(state)")
    }
  }

  // MARK: Sizes

  private func probe(_ shard: Shard, _ byteCount: Int?) throws {
    let mirror = try lake.catalog.locations(of: shard.id)[0].mirrorID
    try lake.catalog.recordProbes([
      ProbeRecord(
        shardID: shard.id, mirrorID: mirror, state: byteCount == nil ? .absent : .present, byteCount: byteCount)
    ])
  }

  private func knownBytes() throws -> String? { try lake.rows("SELECT known_bytes FROM v_source").first }

  @Test func sizesThatMirrorsSayAreKnown() throws {
    let source = try fixture.source("images", count: 3)
    let shards = try lake.catalog.shards(of: source)
    #expect(try knownBytes() == "0")
    try probe(shards[0], 100)
    try probe(shards[1], 50)
    #expect(try knownBytes() == "150")
    try probe(shards[1], nil)
    #expect(try knownBytes() == "100")
    // One that nobody's shard has adds nothing, or a sum could come to more than a number holds.
    try probe(shards[2], 1 << 48)
    #expect(try knownBytes() == "100")
    try probe(shards[1], 60)
    // Bytes that were seen say more than mirrors.
    try fixture.fetch(0, of: source, "five!")
    #expect(try knownBytes() == "65")
    #expect(try lake.catalog.wrongTotals() == [])
  }

  @Test func sizesThatMirrorsSaidAreKnownOnceACatalogIsMigrated() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/catalog.sqlite"
    let old = try CatalogFile.open(path)
    let time = "'2026-01-01T00:00:00.000Z'"
    try old.writeWithoutTransaction { (database: Database) throws -> Void in
      try database.execute(sql: "PRAGMA foreign_keys = OFF")
      try OldCatalog.step(database, toSchema: 27)
      try database.execute(
        sql: """
          INSERT INTO lake VALUES (1, '5e1f3b0c-0000-4000-8000-000000000000', 'shards', 'artifacts', \(time));
          INSERT INTO source (name, modality, dimension, dtype, created_at) VALUES ('images', 'image', 4, 'float16', \(time));
          INSERT INTO mirror (source_id, priority, template, created_at) VALUES (1, 0, 'http://h/{ordinal}.npy', \(time));
          INSERT INTO shard (source_id, ordinal, name, expected_byte_count, changed_at)
            VALUES (1, 0, '0.npy', 5, \(time)), (1, 1, '1.npy', NULL, \(time));
          INSERT INTO shard_location (shard_id, mirror_id, url, state, byte_count)
            VALUES (1, 1, 'http://h/0.npy', 'present', 80), (2, 1, 'http://h/1.npy', 'present', 70);
          PRAGMA user_version = 27; PRAGMA application_id = \(LakeCatalog.applicationID);
          """)
      #expect(try Int.fetchOne(database, sql: "SELECT sum(known_byte_count) FROM shard_total") == 5)
    }
    try old.close()
    let catalog = try LakeCatalog.open(root: directory.path, writing: "test")
    #expect(try catalog.wrongTotals() == [])
    let known = try CatalogFile.open(path).read { try Int.fetchOne($0, sql: "SELECT known_bytes FROM v_source") }
    #expect(known == 75)
  }

  // MARK: Versions

  private func version(environment: String) throws -> IndexVersion {
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "shard zero")
    let version = try fixture.plan("v", fixture.train("t", images), images, environment: environment)
    try fixture.encode(version, output: 0)
    try fixture.merge(version, output: 0)
    try fixture.seal(version)
    return try lake.catalog.version(version.name)
  }

  @Test func aVersionTellsWhatPlannedItAndWhoSealedIt() throws {
    _ = try version(environment: #"{"cpu":"A CPU 9000 @ 2GHz","processors":64,"system":"Linux","tool":"tarn 0.1.0"}"#)
    #expect(
      try lake.rows("SELECT tarn || ', ' || cpu || ', ' || processors FROM v_version")
        == ["0.1.0, A CPU 9000 @ 2GHz, 64"])
    #expect(
      try lake.rows("SELECT sealed_by FROM v_version") == lake.rows("SELECT actor FROM v_event WHERE verb = 'sealed'"))
    #expect(try lake.rows("SELECT count(*) FROM v_version WHERE sealed_by LIKE '%_@_%'") == ["1"])
  }

  @Test func theSizeOfAVersionIsThatOfAllItsFiles() throws {
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "shard zero")
    let version = try fixture.plan("v", fixture.train("t", images), images)
    try fixture.encode(version, output: 0)
    let text = "codes that refine"
    let digest = try fixture.write(text, as: .refineShard)
    try fixture.merge(version, output: 0, refine: RefineShard(digest: digest, byteCount: text.utf8.count))
    #expect(try lake.rows("SELECT refine_bytes FROM v_version") == ["17"])
    #expect(
      try lake.rows("SELECT bytes FROM v_version") == lake.rows("SELECT sum(bytes + refine_bytes) FROM v_output_shard"))
  }

  @Test func aVersionOfNobodyKnowsWhatIsSaidAsThat() throws {
    _ = try version(environment: "{}")
    let unknown = "SELECT count(*) FROM v_version WHERE tarn IS NULL AND cpu IS NULL AND processors IS NULL"
    #expect(try lake.rows(unknown) == ["1"])
  }

  @Test func whatWasMeasuredInAnotherWayIsTold() throws {
    let version = try version(environment: "{}")
    let ways: [(sample: [Int]?, refinedRows: Int?)] = [(nil, nil), (nil, 100), ([1, 2, 4], nil), ([7], 250)]
    let environment = #"{"cpu":"A CPU","processors":2,"system":"Linux","tool":"tarn 0.1.0"}"#
    for (number, way) in ways.enumerated() {
      try fixture.evaluate(
        version, queries: "queries \(number)",
        environment: Evaluation.environment(environment, sample: way.sample, refinedRows: way.refinedRows))
    }
    #expect(
      try lake.rows(
        """
        SELECT coalesce(sample_shards, 'all') || ' ' || coalesce(refined_rows, 'none') FROM v_evaluation
        ORDER BY evaluation
        """) == ["all none", "all 100", "3 none", "1 250"])
  }

  // MARK: Holders

  @Test func anUnfinishedTrainingMayHoldAnExcludedRow() throws {
    let images = try fixture.source("images", count: 2)
    let shard = try fixture.fetch(0, of: images, "shard zero")
    let training = try fixture.planTraining("next", images)
    let other = try fixture.source("others", count: 1)
    try fixture.fetch(0, of: other, "shard of others")
    _ = try fixture.planTraining("apart", other, seed: 2)
    let revision = try #require(shard.revision)
    _ = try lake.catalog.addExclusions(
      .exclude, [ShardRows(revision: revision, rows: [3])], of: images, reason: "case 17")
    let holders = "SELECT holder || ': ' || removed_by FROM v_exclusion_holder WHERE kind = 'training'"
    #expect(try lake.rows(holders) == ["next: tarn abandon next; tarn gc --apply --grace 0s"])
    try lake.catalog.abandonTraining(training)
    #expect(try lake.rows(holders) == [])
  }

  // MARK: Publications

  @Test func placesThatAVersionWasWrittenToAreTold() throws {
    let version = try version(environment: "{}")
    let digest = try #require(version.versionDigest)
    let places = [#"/srv/a "b" \ ä"#, "s3://bucket/indexes", "/folders/v"]
    for (place, kind) in zip(places, [EventVerb.pushed, .pushed, .exported]) {
      for isNew in [true, false, false] {
        try lake.catalog.recordPublication(kind, of: version.name, at: place, digest, isNew: isNew)
      }
    }
    #expect(try lake.rows("SELECT place FROM v_publication ORDER BY seq") == places)
    let said = "SELECT DISTINCT kind || ' ' || version || ' ' || sha256 || ' ' || state FROM v_publication ORDER BY 1"
    #expect(
      try lake.rows(said)
        == ["exported v@1 \(digest.hex) sealed", "pushed v@1 \(digest.hex) sealed"])
    #expect(try lake.catalog.publications(of: version.name).map(\.place) == places)
    #expect(try lake.catalog.publications(of: version.name).map(\.kind) == [.pushed, .pushed, .exported])
    // What was there before and is written again is told again, and named once.
    try lake.catalog.recordPublication(.pushed, of: version.name, at: places[1], digest, isNew: true)
    #expect(try lake.rows("SELECT count(*) FROM v_publication") == ["4"])
    #expect(try lake.catalog.publications(of: version.name).count == 3)
    #expect(try lake.catalog.firstBrokenEvent() == nil)
    #expect(try lake.catalog.publications(of: VersionName(name: "other", number: 1)).isEmpty)
    _ = try lake.catalog.revoke(version.name, reason: "case 17")
    #expect(try lake.rows("SELECT DISTINCT state FROM v_publication") == ["revoked"])
    // A copy of a version that has the row has it, whatever becomes of the version here.
    let images = try lake.catalog.source(named: "images")
    let revision = try #require(try lake.catalog.shards(of: images)[0].revision)
    _ = try lake.catalog.addExclusions(
      .exclude, [ShardRows(revision: revision, rows: [3])], of: images, reason: "case 17")
    #expect(
      try lake.rows("SELECT holder FROM v_exclusion_holder WHERE kind = 'publication' ORDER BY 1") == places.sorted())
    #expect(
      try lake.rows("SELECT DISTINCT removed_by FROM v_exclusion_holder WHERE kind = 'publication'")
        == ["remove v@1 there"])
  }
}
