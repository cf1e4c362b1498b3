import Catalog
import GRDB
import Testing
import TestSupport

/// A write that would break an invariant, and which one.
struct HostileWrite: Sendable, CustomTestStringConvertible {
  let breaks: String
  let sql: String

  var testDescription: String { "\(breaks): \(sql)" }

  init(_ breaks: String, _ sql: String) {
    self.breaks = breaks
    self.sql = sql
  }
}

/// The database itself refuses writes of connections that know nothing of tarn.
///
/// Recursive triggers are off, as everywhere but in tarn, and foreign keys are
/// on or, as in the sqlite3 shell, off.
@Suite struct HostileWriteTests {
  private static let sealed = "(SELECT id FROM index_version WHERE name = 'laion' AND number = 1)"
  private static let building = "(SELECT id FROM index_version WHERE name = 'laion' AND number = 2)"
  private static let goneOutput =
    "(SELECT sha256 FROM stored_bytes WHERE kind = 'output-shard' AND state = 'deleted' LIMIT 1)"
  private static let liveOutput =
    "(SELECT o.sha256 FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE v.name = 'laion' AND v.number = 1 LIMIT 1)"
  private static let pinnedOutput =
    "(SELECT o.sha256 FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE v.name = 'old' AND o.ordinal = 1)"
  private static let zeros = String(repeating: "0", count: 64)
  private static let ones = String(repeating: "1", count: 64)
  private static let now = "'2026-01-01T00:00:00.000Z'"

  static let revisions: [HostileWrite] = [
    .init("4 a revision is frozen", "UPDATE shard_revision SET sha256 = '\(zeros)'"),
    .init("4 a revision is frozen", "UPDATE shard_revision SET row_count = 6 WHERE revision = 1"),
    .init("4 a revision is kept", "DELETE FROM shard_revision"),
    .init(
      "4 a revision is not replaced",
      "INSERT OR REPLACE INTO shard_revision SELECT shard_id, revision, '\(zeros)', byte_count, row_count, trust, mirror_id, etag, last_modified, observed_at FROM shard_revision"
    ),
    .init(
      "4 a revision is not replaced by its digest",
      "INSERT OR REPLACE INTO shard_revision SELECT shard_id, revision + 7, sha256, byte_count, row_count, trust, mirror_id, etag, last_modified, observed_at FROM shard_revision"
    ),
    .init(
      "4 a manifest names its digest",
      "INSERT INTO shard_revision SELECT shard_id, 9, '\(zeros)', byte_count, row_count, 'manifest', mirror_id, etag, last_modified, observed_at FROM shard_revision LIMIT 1"
    ),
    .init("4 a source keeps its dimension", "UPDATE source SET dimension = 8"),
    .init("4 a source keeps its dtype", "UPDATE source SET dtype = 'float32'"),
    .init("4 a source keeps its name", "UPDATE source SET name = 'pictures'"),
    .init("4 a source is kept", "DELETE FROM source"),
    .init(
      "4 a source is not replaced",
      "INSERT OR REPLACE INTO source (id, name, modality, dimension, dtype, created_at, kept_query) VALUES (99, 'images', 'text', 8, 'float32', \(now), '')"
    ),
    .init(
      "4 a source is not replaced by its number",
      "INSERT OR REPLACE INTO source (id, name, modality, dimension, dtype, created_at, kept_query) SELECT id, 'x', 'text', 8, 'float32', \(now), '' FROM source"
    ),
    .init(
      "4 a mirror is not replaced",
      "INSERT OR REPLACE INTO mirror SELECT NULL, source_id, priority, 'http://evil/', 'original', \(now), 0 FROM mirror"
    ),
    .init("4 a mirror keeps its source", "UPDATE mirror SET source_id = 7"),
    .init("4 a mirror that shards refer to is kept", "DELETE FROM mirror"),
    .init("4 a shard keeps its place", "UPDATE shard SET ordinal = ordinal + 100"),
    .init("4 a shard keeps its name", "UPDATE OR REPLACE shard SET name = '1.npy' WHERE ordinal = 2"),
    .init("4 a shard is kept", "DELETE FROM shard"),
    .init(
      "4 a shard is not replaced",
      "INSERT OR REPLACE INTO shard (source_id, ordinal, name, changed_at) SELECT source_id, 0, 'x.npy', \(now) FROM shard WHERE ordinal = 0"
    ),
    .init("1 a shard goes through evicting", "UPDATE shard SET state = 'evicted' WHERE state = 'present'"),
    .init("1 a shard has an observed revision", "UPDATE shard SET current_revision = 42 WHERE ordinal = 0"),
  ]

  static let versions: [HostileWrite] = [
    .init("4 sealed is frozen", "UPDATE index_version SET spec = '{}' WHERE id = \(sealed)"),
    .init("4 sealed is frozen", "UPDATE index_version SET version_sha256 = '\(zeros)' WHERE id = \(sealed)"),
    .init("4 sealed is frozen", "UPDATE index_version SET published_as = 'other@3' WHERE id = \(sealed)"),
    .init("3 what is built is fixed", "UPDATE index_version SET published_as = 'other@3' WHERE id = \(building)"),
    .init(
      "4 sealed is frozen",
      "UPDATE index_version SET state = 'building', version_sha256 = NULL, sealed_at = NULL WHERE id = \(sealed)"),
    .init("4 revoked stays revoked", "UPDATE index_version SET state = 'sealed' WHERE name = 'old'"),
    .init(
      "4 the end of a version is fixed",
      "UPDATE index_version SET ended_at = '2000-01-01T00:00:00.000Z' WHERE name = 'old'"),
    .init("4 a revocation says when", "UPDATE index_version SET state = 'revoked' WHERE id = \(sealed)"),
    .init("4 a version is kept", "DELETE FROM index_version WHERE id = \(sealed)"),
    .init("4 a version is kept unfinished too", "DELETE FROM index_version WHERE id = \(building)"),
    .init(
      "4 a sealed version is not replaced",
      "INSERT OR REPLACE INTO index_version SELECT NULL, name, number, 'planned', trained_index_id, source_id, shards_per_output, missing_policy, bad_rows_policy, '{}', 'x', environment, created_at, NULL, NULL, NULL, NULL FROM index_version WHERE id = \(sealed)"
    ),
    .init(
      "4 a sealed version is not replaced by its id",
      "INSERT OR REPLACE INTO index_version SELECT id, 'x', 1, 'planned', trained_index_id, source_id, shards_per_output, missing_policy, bad_rows_policy, '{}', 'x', environment, created_at, NULL, NULL, NULL, NULL FROM index_version WHERE id = \(sealed)"
    ),
    .init(
      "4 a version is planned before it is sealed",
      "INSERT INTO index_version SELECT NULL, 'fake', 1, 'sealed', trained_index_id, source_id, shards_per_output, missing_policy, bad_rows_policy, spec, spec_sha256, environment, created_at, '\(zeros)', sealed_at, NULL, NULL FROM index_version WHERE id = \(sealed)"
    ),
    .init(
      "4 a version is not renamed over a sealed one",
      "UPDATE OR REPLACE index_version SET number = 1 WHERE id = \(building)"),
    .init(
      "4 a version does not take a sealed one's digest",
      "UPDATE OR REPLACE index_version SET state = 'sealed', sealed_at = \(now), version_sha256 = (SELECT version_sha256 FROM index_version WHERE id = \(sealed)) WHERE id = \(building)"
    ),
    .init("3 what is built is fixed", "UPDATE index_version SET bad_rows_policy = 'skip' WHERE id = \(building)"),
    .init(
      "4 sealed only when complete",
      "UPDATE index_version SET state = 'sealed', sealed_at = \(now), version_sha256 = '\(ones)' WHERE id = \(building)"
    ),
    .init("4 inputs are fixed", "UPDATE version_input SET revision = NULL"),
    .init("4 inputs are fixed", "UPDATE version_input SET first_id = first_id + 1 WHERE version_id = \(sealed)"),
    .init("4 inputs are kept", "DELETE FROM version_input WHERE version_id = \(sealed)"),
    .init(
      "4 inputs are fixed once planned",
      "INSERT INTO version_input SELECT \(building), 9, id, NULL, 0, 9, 99, 5, NULL FROM shard WHERE ordinal = 2"),
    .init(
      "4 inputs are of a version",
      "INSERT INTO version_input SELECT 4711, 9, id, NULL, 0, 9, 99, 5, NULL FROM shard WHERE ordinal = 2"),
    .init(
      "4 inputs are not replaced",
      "INSERT OR REPLACE INTO version_input SELECT version_id, ordinal, shard_id, NULL, 1, output_ordinal, first_id, row_count, NULL FROM version_input WHERE version_id = \(sealed)"
    ),
    .init("4 outputs are frozen", "UPDATE output_shard SET lists_sha256 = '\(zeros)'"),
    .init("4 outputs are kept", "DELETE FROM output_shard WHERE version_id = \(sealed)"),
    .init(
      "4 outputs are not replaced",
      "INSERT OR REPLACE INTO output_shard SELECT version_id, ordinal, sha256, first_input, last_input, first_id, end_id, row_count, byte_count, '\(zeros)', created_at, NULL, NULL FROM output_shard WHERE version_id = \(building)"
    ),
    .init(
      "4 outputs are recorded while building",
      "INSERT INTO output_shard SELECT version_id, 9, sha256, first_input, last_input, first_id, end_id, row_count, byte_count, lists_sha256, created_at, NULL, NULL FROM output_shard WHERE version_id = \(sealed)"
    ),
    .init(
      "4 what refines an output never changes",
      "UPDATE output_shard SET refine_sha256 = '\(zeros)', refine_byte_count = 1 WHERE version_id = \(sealed)"),
    .init(
      "4 a pin is not replaced", "INSERT OR REPLACE INTO pin SELECT id, version_id, 'mine', created_at, NULL FROM pin"),
    .init(
      "4 a version is pinned once",
      "INSERT OR REPLACE INTO pin SELECT NULL, version_id, 'mine', created_at, NULL FROM pin"),
    .init("4 a pin is kept", "DELETE FROM pin"),
    .init("4 a pin is not moved", "UPDATE pin SET version_id = \(sealed)"),
    .init(
      "4 nothing is pinned that is gone",
      "INSERT INTO pin SELECT NULL, id, 'x', \(now), NULL FROM index_version WHERE name = 'gone'"),
    .init("8 outcomes are kept", "DELETE FROM reproduction"),
    .init("8 outcomes are frozen", "UPDATE reproduction SET outcome = 'differs'"),
    .init(
      "8 outcomes are not replaced",
      "INSERT OR REPLACE INTO reproduction SELECT id, version_id, started_at, ended_at, 'differs', detail, environment FROM reproduction"
    ),
  ]

  static let artifacts: [HostileWrite] = [
    .init(
      "4 bytes of a sealed version stay",
      "UPDATE stored_bytes SET state = 'deleting', deleting_at = \(now) WHERE sha256 = \(liveOutput)"),
    .init(
      "4 bytes of a pinned version stay",
      "UPDATE stored_bytes SET state = 'deleting', deleting_at = \(now) WHERE sha256 = \(pinnedOutput)"),
    .init(
      "4 bytes of a trained index stay",
      "UPDATE stored_bytes SET state = 'deleting', deleting_at = \(now) WHERE kind = 'trained-index'"),
    .init(
      "1 the row says deleting first",
      "UPDATE stored_bytes SET state = 'deleted' WHERE kind = 'segment' AND state = 'present'"),
    .init("1 a removal says when", "UPDATE stored_bytes SET state = 'deleting' WHERE kind = 'nearest-images'"),
    .init("2 an artifact keeps its digest", "UPDATE stored_bytes SET sha256 = '\(zeros)' WHERE kind = 'segment'"),
    .init(
      "2 an artifact keeps its path",
      "UPDATE OR REPLACE stored_bytes SET path = (SELECT path FROM stored_bytes WHERE sha256 = \(liveOutput)) WHERE kind = 'nearest-images'"
    ),
    .init("2 an artifact keeps its size", "UPDATE stored_bytes SET byte_count = 1"),
    .init("2 bytes stay in their place", "UPDATE stored_bytes SET place = 'shards' WHERE kind = 'segment'"),
    .init(
      "4 bytes of a present shard stay",
      "UPDATE stored_bytes SET state = 'deleting', deleting_at = \(now) WHERE place = 'shards'"),
    .init(
      "1 a shard is present with its bytes",
      "UPDATE shard SET state = 'present', current_revision = 1, reserved_byte_count = NULL WHERE ordinal = 2"),
    .init(
      "2 bytes are of a known kind",
      "INSERT INTO stored_bytes VALUES ('\(zeros)', 'artifacts', 'spam', 1, 'x', 'present', \(now), NULL, NULL)"),
    .init(
      "2 bytes are where their kind is",
      "INSERT INTO stored_bytes VALUES ('\(zeros)', 'shards', 'segment', 1, 'x', 'present', \(now), NULL, NULL)"),
    .init("no file is a duplicate any more", "INSERT INTO duplicate_file VALUES ('shards', 'images/0.npy')"),
    .init("4 the text of a lock is frozen", "UPDATE lock_text SET text = 'x'"),
    .init("4 the text of a lock is kept", "DELETE FROM lock_text"),
    .init("4 the text of a lock is not replaced", "INSERT OR REPLACE INTO lock_text VALUES (\(sealed), 'x')"),
    .init("4 an unsealed version has no text", "INSERT INTO lock_text VALUES (\(building), 'x')"),
    .init("a codec is frozen", "UPDATE codec SET has_ranges = 0"),
    .init("a codec is kept", "DELETE FROM codec WHERE name = 'sq8'"),
    .init("a codec is not replaced", "INSERT OR REPLACE INTO codec VALUES ('sq4', 5, 0)"),
    .init(
      "a trained index has a known codec",
      "INSERT INTO trained_index SELECT NULL, 'x', 'training', method, 'sq5', 2, dimension, iterations, 9, pair_count, image_source_id, caption_source_id, spec, spec_sha256, NULL, created_at, NULL FROM trained_index WHERE name = 'clip'"
    ),
    .init(
      "a source has a known modality",
      "INSERT INTO source (id, name, modality, dimension, dtype, created_at, kept_query) VALUES (99, 'x', 'sound', 4, 'float16', \(now), '')"
    ),
    .init(
      "a source has a known dtype",
      "INSERT INTO source (id, name, modality, dimension, dtype, created_at, kept_query) VALUES (99, 'x', 'image', 4, 'int64', \(now), '')"
    ),
    .init(
      "a companion has no dimension",
      "INSERT INTO source (id, name, modality, dimension, dtype, created_at, kept_query, companion_of) "
        + "SELECT 99, 'm', 'other', 4, 'uint8', \(now), '', id FROM source WHERE name = 'images'"),
    .init("a source becomes no companion", "UPDATE source SET companion_of = id"),
    .init(
      "a companion of a version is aligned",
      "INSERT INTO version_companion SELECT version_id, shard_id, revision, \(now) FROM version_input "
        + "WHERE revision IS NOT NULL LIMIT 1"),
    .init(
      "a pack has its bytes",
      "INSERT INTO pack (companion_sha256, format_version, columns, sha256, row_count, created_at) "
        + "VALUES (printf('%064d', 0), 1, '', printf('%064d', 1), 0, \(now))"),
    .init(
      "a rule of exclusions is about a companion",
      "INSERT INTO exclusion_rule (source_id, number, kind, companion_id, column_name, reason, value_count, sha256, "
        + "created_at) SELECT id, 1, 'exclude', id, 'url', 'r', 1, '\(zeros)', \(now) FROM source WHERE name = 'images'"
    ),
    .init("a total is of one version", "UPDATE version_total SET version_id = version_id + 1000"),
    .init(
      "the total of a sealed version is true",
      "UPDATE version_total SET output_row_count = 1 WHERE version_id = \(sealed)"),
    .init("the totals of a version are kept", "DELETE FROM version_total WHERE version_id = \(sealed)"),
    .init("4 an artifact's age is fixed", "UPDATE stored_bytes SET created_at = '2000-01-01T00:00:00.000Z'"),
    .init(
      "2 an artifact is not replaced",
      "INSERT OR REPLACE INTO stored_bytes SELECT sha256, place, kind, 1, path, 'present', created_at, NULL, NULL FROM stored_bytes"
    ),
    .init(
      "2 an artifact is not replaced by its path",
      "INSERT OR REPLACE INTO stored_bytes SELECT '\(zeros)', place, kind, 1, path, 'present', created_at, NULL, NULL FROM stored_bytes WHERE kind = 'segment' LIMIT 1"
    ),
    .init("2 an artifact's row is kept", "DELETE FROM stored_bytes WHERE state = 'deleted'"),
    .init(
      "4 no output of deleted bytes",
      "INSERT INTO output_shard SELECT \(building), 1, a.sha256, 1, 1, 5, 10, 5, a.byte_count, '\(zeros)', \(now), NULL, NULL FROM stored_bytes a WHERE a.sha256 = \(goneOutput)"
    ),
    .init(
      "4 no segment of deleted bytes",
      "INSERT INTO segment SELECT trained_sha256, '\(zeros)', '', 'fail', 1, a.sha256, 5, 0, \(now) FROM segment, stored_bytes a WHERE a.kind = 'segment' AND a.state = 'deleted' LIMIT 1"
    ),
    .init(
      "4 no trained index of deleted bytes",
      "UPDATE trained_index SET state = 'ready', ready_at = \(now), sha256 = \(goneOutput) WHERE name = 'next'"),
    .init(
      "4 no trained index of unknown bytes",
      "UPDATE trained_index SET state = 'ready', ready_at = \(now), sha256 = '\(zeros)' WHERE name = 'next'"),
    .init("3 a segment never changes", "UPDATE segment SET row_count = 4"),
    .init(
      "3 a segment is not replaced",
      "INSERT OR REPLACE INTO segment SELECT trained_sha256, shard_sha256, array_name, bad_rows_policy, format_version, sha256, 4, 0, created_at FROM segment"
    ),
    .init("3 a segment's row is kept", "DELETE FROM segment"),
    .init("3 nearest images never change", "UPDATE nearest_images SET pair_count = 3"),
    .init(
      "3 nearest images are not replaced",
      "INSERT OR REPLACE INTO nearest_images SELECT inputs_sha256, purpose, sha256, 3, created_at FROM nearest_images"),
    .init("4 a trained index never changes", "UPDATE trained_index SET seed = 9 WHERE name = 'clip'"),
    .init("3 a planned training never changes", "UPDATE trained_index SET seed = 9 WHERE name = 'next'"),
    .init(
      "4 a trained index keeps the name in sealed documents",
      "UPDATE trained_index SET name = 'x' WHERE name = 'clip'"),
    .init("4 a trained index is kept", "DELETE FROM trained_index WHERE name = 'clip'"),
    .init(
      "4 a trained index is not replaced",
      "INSERT OR REPLACE INTO trained_index SELECT NULL, 'clip', 'training', method, codec, 3, dimension, iterations, 9, pair_count, image_source_id, caption_source_id, spec, spec_sha256, NULL, created_at, NULL FROM trained_index WHERE name = 'clip'"
    ),
    .init(
      "4 a trained index is not renamed over another",
      "UPDATE OR REPLACE trained_index SET name = 'clip' WHERE name = 'next'"),
    .init(
      "4 a trained index is not born ready",
      "INSERT INTO trained_index SELECT NULL, 'fake', state, method, codec, 2, dimension, iterations, 9, pair_count, image_source_id, caption_source_id, spec, spec_sha256, sha256, created_at, ready_at FROM trained_index WHERE name = 'clip'"
    ),
    .init(
      "4 inputs of training are kept",
      "DELETE FROM trained_input WHERE trained_index_id = (SELECT id FROM trained_index WHERE name = 'clip')"),
    .init("4 inputs of training are frozen", "UPDATE trained_input SET ordinal = ordinal + 10"),
    .init(
      "4 inputs of training are fixed",
      "INSERT INTO trained_input SELECT id, 'caption', 0, 1, 1 FROM trained_index WHERE name = 'clip'"),
    .init("4 iterations are frozen", "UPDATE training_iteration SET objective = 1"),
    .init("4 iterations are kept", "DELETE FROM training_iteration"),
  ]

  static let history: [HostileWrite] = [
    .init("4 an event is frozen", "UPDATE event SET actor = 'nobody' WHERE seq = 1"),
    .init("4 an event is kept", "DELETE FROM event"),
    .init("4 the newest event is kept", "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)"),
    .init(
      "4 an event is not replaced",
      "INSERT OR REPLACE INTO event SELECT seq, at, 'nobody', verb, subject, detail, prev, '\(ones)' FROM event WHERE seq = 1"
    ),
    .init(
      "4 an event is not replaced by its hash",
      "INSERT OR REPLACE INTO event SELECT (SELECT max(seq) + 1 FROM event), at, 'nobody', verb, subject, detail, (SELECT hash FROM event ORDER BY seq DESC LIMIT 1), hash FROM event WHERE seq = 1"
    ),
    .init(
      "4 the history has no gap",
      "INSERT INTO event SELECT max(seq) + 2, at, actor, verb, subject, detail, hash, '\(ones)' FROM event"),
    .init(
      "4 the history has one thread",
      "INSERT INTO event SELECT (SELECT max(seq) + 1 FROM event), at, actor, verb, subject, detail, prev, '\(ones)' FROM event WHERE seq = 2"
    ),
    .init("the lake keeps its identity", "UPDATE lake SET uuid = '00000000-0000-0000-0000-000000000000'"),
    .init("the lake is kept", "DELETE FROM lake"),
    .init(
      "the lake is not replaced",
      "INSERT OR REPLACE INTO lake SELECT id, '00000000-0000-0000-0000-000000000000', shards_directory, artifacts_directory, created_at FROM lake"
    ),
  ]

  private static let filled: Result<TemporaryLake, any Error> = Result {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    return lake
  }

  @Test(arguments: revisions + versions + artifacts + history)
  func theDatabaseRefuses(_ write: HostileWrite) throws {
    let lake = try Self.filled.get()
    for foreignKeys in [true, false] {
      var configuration = Configuration()
      configuration.foreignKeysEnabled = foreignKeys
      let queue = try CatalogFile.open(lake.root + "/catalog.sqlite", configuration)
      try queue.inDatabase { (database: Database) throws -> Void in
        #expect(try Bool.fetchOne(database, sql: "PRAGMA recursive_triggers") == false)
        try database.inTransaction {
          // A refusal by a trigger or a CHECK, before anything else can object.
          let error = #expect(throws: DatabaseError.self) { try database.execute(sql: write.sql) }
          #expect(
            [.SQLITE_CONSTRAINT_TRIGGER, .SQLITE_CONSTRAINT_CHECK].contains(error?.extendedResultCode),
            "\(String(describing: error))")
          return .rollback
        }
      }
    }
  }

  @Test func whatIsLegalIsNotRefused() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    #expect(try lake.catalog.firstBrokenEvent() == nil)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write { database in
      try database.execute(sql: "UPDATE lake SET shards_directory = '/elsewhere'")
      try database.execute(sql: "UPDATE mirror SET priority = 5")
      try database.execute(sql: "UPDATE pin SET removed_at = \(Self.now)")
      try database.execute(
        sql: "UPDATE index_version SET state = 'revoked', ended_at = \(Self.now) WHERE id = \(Self.sealed)")
      try database.execute(
        sql:
          "UPDATE stored_bytes SET state = 'deleting', deleting_at = \(Self.now) WHERE kind = 'segment' AND state = 'present'"
      )
    }
  }
}
