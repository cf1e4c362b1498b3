// `rebuild-catalog`: a catalog made again from the files of a lake that lost its
// own. It is written beside, through the schema and its guards, and takes the
// name only when it is whole; a catalog that is good is never replaced.

package import Base
internal import Foundation
internal import GRDB

/// What a catalog made again holds.
package struct RebuildSummary: Sendable {
  package var sources = 0
  package var shards = 0
  /// Shards whose bytes are in the lake.
  package var present = 0
  package var revisions = 0
  package var trainedIndexes = 0
  package var versions: [VersionName] = []
  package var outputs = 0
  /// What the files did not say, or said of damage; a line for each.
  package var remarks: [String] = []
  /// Where the damaged catalog went; nil when there was none.
  package var setAside: String?

  /// What no file of a lake tells, said once.
  package static let unknowable = """
    not known any more: the history, pins and revocations, transfers and what mirrors were seen to have, unfinished \
    trainings and builds, sources of no sealed version; segments are made again when they are needed
    """
}

extension LakeCatalog {
  /// Makes the catalog of a lake again from its files.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - shards: Directory of fetched shards, relative to `root` or absolute.
  ///   - artifacts: Directory of results, relative to `root` or absolute.
  ///   - report: Told of each file that is read.
  /// - Returns: What the new catalog holds.
  /// - Throws: ``TarnError`` `.conflict` when there is a catalog that is
  ///   good; `.noLake` when no file tells of a version.
  package static func rebuild(
    root: String, shards: String, artifacts: String, report: @escaping (String) throws -> Void = { _ in }
  ) throws -> RebuildSummary {
    let layout = LakeLayout(root: root, shards: shards, artifacts: artifacts)
    guard FileManager.default.fileExists(atPath: layout.versions) else {
      throw TarnError(
        .noLake, "\(layout.root) has no directory 'versions' to make a catalog from", hint: "name the lake with --lake")
    }
    let lock = try WriterLock(path: layout.lock, command: "rebuild-catalog")
    defer { withExtendedLifetime(lock) {} }
    guard try !isGood(layout.catalog) else {
      throw TarnError(
        .conflict, "\(layout.catalog) is whole and stays as it is", hint: "`tarn doctor` and `tarn verify` look closer")
    }
    let (found, lost) = VersionEvidence.all(in: layout)
    guard !found.isEmpty else {
      throw TarnError(
        .noLake,
        "no version in \(layout.versions) says what it was made from"
          + (lost.first.map { ": \($0.message)" } ?? ""), hint: "restore a backup of the catalog")
    }
    let building = layout.catalog + ".rebuilt"
    for suffix in ["", "-wal", "-shm", "-journal"] { try Disk.remove(building + suffix) }
    var summary: RebuildSummary
    do {
      let queue = try connect(to: building, readOnly: false, journal: .default)
      try migrate(queue)
      summary = try wrapped {
        try queue.write { database in
          try database.execute(
            sql: """
              INSERT INTO lake (id, uuid, shards_directory, artifacts_directory, created_at) VALUES (1, ?, ?, ?, ?)
              """,
            arguments: [UUID().uuidString.lowercased(), shards, artifacts, Timestamp.now()])
          var writer = RebuildWriter(database: database, layout: layout, report: report)
          let summary = try writer.write(found)
          try database.checkForeignKeys()
          return summary
        }
      }
      try queue.close()
    }
    summary.remarks += lost.map(\.message)
    try Disk.syncFile(building)
    summary.setAside = try setAside(layout.catalog)
    try Disk.moveIntoPlace(building, layout.catalog)
    return summary
  }

  /// Whether a catalog can be used: a lake's, whole, its references right.
  private static func isGood(_ path: String) throws -> Bool {
    guard let size = Disk.size(of: path), size > 0 else { return false }
    do {
      let queue = try connect(to: path, readOnly: true)
      return try queue.read { database in
        guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else { return false }
        guard try String.fetchAll(database, sql: "PRAGMA quick_check(1)") == ["ok"] else { return false }
        return try Row.fetchOne(database, sql: "SELECT uuid FROM lake") != nil
      }
    } catch let error as DatabaseError
      where [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR].contains(error.resultCode)
    {
      return false
    } catch let error as TarnError where error.code == .integrity || error.code == .database {
      return false
    }
  }

  /// Gives a damaged catalog and its log other names; nothing is deleted.
  private static func setAside(_ catalog: String) throws -> String? {
    let present = ["", "-wal", "-shm"].filter { Disk.size(of: catalog + $0) != nil }
    guard !present.isEmpty else { return nil }
    var number = 1
    while ["", "-wal", "-shm"].contains(where: { Disk.size(of: "\(catalog).damaged-\(number)\($0)") != nil }) {
      number += 1
    }
    let aside = "\(catalog).damaged-\(number)"
    for suffix in present { try Disk.moveIntoPlace(catalog + suffix, aside + suffix) }
    return aside
  }
}

/// Writes what files say into an empty catalog, in the order of a lake's life.
private struct RebuildWriter {
  let database: Database
  let layout: LakeLayout
  let report: (String) throws -> Void
  private var summary = RebuildSummary()
  private var shardIDs: [String: [String: Int64]] = [:]
  /// Number of each revision, by shard and digest.
  private var revisions: [Int64: [ContentDigest: Int]] = [:]
  private var trainedIDs: [ContentDigest: Int64] = [:]

  init(database: Database, layout: LakeLayout, report: @escaping (String) throws -> Void) {
    self.database = database
    self.layout = layout
    self.report = report
  }

  mutating func write(_ versions: [VersionEvidence]) throws -> RebuildSummary {
    for version in versions {
      for source in version.document.sources { try add(source, of: version) }
    }
    try settleShards()
    for version in versions { try addTrained(version) }
    for version in versions { try add(version) }
    try LakeCatalog.record(
      .rebuilt, "catalog",
      [
        "sources": .count(summary.sources), "revisions": .count(summary.revisions),
        "versions": .array(summary.versions.map { .string("\($0)") }), "remarks": .count(summary.remarks.count),
      ], database)
    return summary
  }

  // MARK: Sources, shards, revisions

  private mutating func add(_ source: VersionExport.Source, of version: VersionEvidence) throws {
    let isNew = shardIDs[source.name] == nil
    if isNew { try register(source, at: version.sealedAt) }
    let rows = version.rowCounts
    for shard in source.shards {
      guard let id = shardIDs[source.name]?[shard.name] else {
        summary.remarks.append(
          "\(source.name)/\(shard.name) of \(version.name) is no shard of the source's first document")
        continue
      }
      guard let digest = shard.sha256, let bytes = shard.bytes, let rowCount = rows[digest],
        revisions[id]?[digest] == nil
      else { continue }
      let number = (revisions[id]?.count ?? 0) + 1
      try database.execute(
        sql: """
          INSERT INTO shard_revision (shard_id, revision, sha256, byte_count, row_count, trust, observed_at)
          VALUES (?, ?, ?, ?, ?, 'first-use', ?)
          """, arguments: [id, number, digest.hex, bytes, rowCount, version.sealedAt])
      revisions[id, default: [:]][digest] = number
      summary.revisions += 1
    }
  }

  private mutating func register(_ source: VersionExport.Source, at time: String) throws {
    try LakeCatalog.validate(name: source.name, of: "source")
    try database.execute(
      sql: "INSERT INTO source (name, modality, dimension, dtype, created_at) VALUES (?, ?, ?, ?, ?)",
      arguments: [source.name, source.modality, source.dimension, source.dtype, time])
    let sourceID = database.lastInsertedRowID
    var mirrors: [Int64] = []
    for (priority, template) in source.mirrors.enumerated() {
      try database.execute(
        sql: "INSERT INTO mirror (source_id, priority, template, provenance, created_at) VALUES (?, ?, ?, ?, ?)",
        arguments: [sourceID, priority, template, "reconstructed", time])
      mirrors.append(database.lastInsertedRowID)
    }
    var ids: [String: Int64] = [:]
    for (ordinal, shard) in source.shards.enumerated() {
      try database.execute(
        sql: "INSERT INTO shard (source_id, ordinal, name, changed_at) VALUES (?, ?, ?, ?)",
        arguments: [sourceID, ordinal, shard.name, time])
      let id = database.lastInsertedRowID
      ids[shard.name] = id
      for (mirror, url) in zip(mirrors, shard.urls) {
        try database.execute(
          sql: "INSERT INTO shard_location (shard_id, mirror_id, url) VALUES (?, ?, ?)", arguments: [id, mirror, url])
      }
    }
    shardIDs[source.name] = ids
    summary.sources += 1
    summary.shards += source.shards.count
  }

  /// Says of each observed shard whether its bytes are here.
  private mutating func settleShards() throws {
    for (source, ids) in shardIDs.sorted(by: { $0.key < $1.key }) {
      for (name, id) in ids.sorted(by: { $0.value < $1.value }) {
        guard let known = revisions[id], !known.isEmpty else { continue }
        let newestFirst = known.sorted { $0.value > $1.value }
        let here = try newestFirst.first { digest, _ in
          let path = LakeLayout.shardPath(source: source, shard: name, digest: digest)
          try report(path)
          switch FileEvidence(layout.shards + "/" + path, byteCount: nil, digest: digest) {
          case .whole: return true
          case .damaged:
            summary.remarks.append("\(layout.shards)/\(path) is damaged and not counted on")
            return false
          case .missing: return false
          }
        }
        let now = Timestamp.now()
        if let here {
          try database.execute(
            sql: "UPDATE shard SET state = 'present', current_revision = ?, path = ?, verified_at = ? WHERE id = ?",
            arguments: [here.value, LakeLayout.shardPath(source: source, shard: name, digest: here.key), now, id])
          summary.present += 1
        } else {
          // Through fetching: what was observed once and is not here is evicted.
          try database.execute(
            sql: "UPDATE shard SET state = 'fetching', reserved_byte_count = 0 WHERE id = ?", arguments: [id])
          try database.execute(
            sql: "UPDATE shard SET state = 'evicted', reserved_byte_count = NULL, current_revision = ? WHERE id = ?",
            arguments: [newestFirst[0].value, id])
        }
      }
    }
  }

  // MARK: Trained indexes and versions

  private mutating func addArtifact(
    _ kind: ArtifactKind, _ digest: ContentDigest, byteCount: Int?, for what: String
  ) throws {
    let known = try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM artifact WHERE sha256 = ?)", arguments: [digest.hex])
    guard known != true else { return }
    let path = LakeLayout.artifactPath(kind: kind, digest: digest)
    try report(path)
    let whole = "\(layout.artifacts)/\(path)"
    let evidence = FileEvidence(whole, byteCount: byteCount, digest: digest)
    switch evidence {
    case .whole: break
    case .missing: summary.remarks.append("\(what): \(whole) is missing; `tarn verify --repair` may bring it back")
    case .damaged: summary.remarks.append("\(what): \(whole) is damaged; `tarn verify --repair` may bring it back")
    }
    let now = Timestamp.now()
    let verifiedAt: String? = if case .whole = evidence { now } else { nil }
    try database.execute(
      sql: "INSERT INTO artifact (sha256, kind, byte_count, path, created_at, verified_at) VALUES (?, ?, ?, ?, ?, ?)",
      arguments: [
        digest.hex, kind.rawValue, byteCount ?? Disk.size(of: whole) ?? 0, path, now, verifiedAt,
      ])
  }

  private mutating func addTrained(_ version: VersionEvidence) throws {
    let trained = version.document.trained
    guard trainedIDs[trained.sha256] == nil else { return }
    try LakeCatalog.validate(name: trained.name, of: "trained index")
    try addArtifact(.trainedIndex, trained.sha256, byteCount: nil, for: "the trained index \(trained.name)")
    let dimension = version.document.sources.first { $0.name == trained.images }?.dimension
    try database.execute(
      sql: """
        INSERT INTO trained_index (name, state, method, codec, nlist, dimension, iterations, seed, pair_count,
          image_source_id, caption_source_id, spec, spec_sha256, created_at)
        VALUES (?, 'training', ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM source WHERE name = ?),
          (SELECT id FROM source WHERE name = ?), ?, ?, ?)
        """,
      arguments: [
        trained.name, trained.method, trained.codec, trained.nlist, dimension, trained.iterations, trained.seed,
        trained.pairs, trained.images, trained.captions, trained.spec, version.lock.trained.specSha256.hex,
        version.sealedAt,
      ])
    let id = database.lastInsertedRowID
    try addInputs(of: id, "image", version.training.images, from: version.document, source: trained.images)
    if let captions = trained.captions, let shards = version.training.captions {
      try addInputs(of: id, "caption", shards, from: version.document, source: captions)
    }
    try database.execute(
      sql: "UPDATE trained_index SET state = 'ready', sha256 = ?, ready_at = ? WHERE id = ?",
      arguments: [trained.sha256.hex, version.sealedAt, id])
    trainedIDs[trained.sha256] = id
    summary.trainedIndexes += 1
  }

  private func addInputs(
    of trained: Int64, _ role: String, _ shards: [VersionEvidence.TrainingSpec.Shard], from document: VersionExport,
    source: String
  ) throws {
    let pinned = document.sources.first { $0.name == source }?.shards ?? []
    let names = Dictionary(
      pinned.compactMap { shard in shard.sha256.map { ($0, shard.name) } }, uniquingKeysWith: { first, _ in first })
    for (ordinal, shard) in shards.enumerated() {
      guard let name = names[shard.sha256], let id = shardIDs[source]?[name],
        let revision = revisions[id]?[shard.sha256]
      else {
        throw TarnError(.integrity, "the document of \(document.version) does not name a shard it was trained on")
      }
      try database.execute(
        sql: "INSERT INTO trained_input (trained_index_id, role, ordinal, shard_id, revision) VALUES (?, ?, ?, ?, ?)",
        arguments: [trained, role, ordinal, id, revision])
    }
  }

  private mutating func add(_ version: VersionEvidence) throws {
    let document = version.document
    try database.execute(
      sql: """
        INSERT INTO index_version (name, number, state, trained_index_id, source_id, shards_per_output, missing_policy,
          bad_rows_policy, spec, spec_sha256, environment, created_at)
        VALUES (?, ?, 'planned', ?, (SELECT id FROM source WHERE name = ?), ?, ?, ?, ?, ?, '{}', ?)
        """,
      arguments: [
        version.name.name, version.name.number, trainedIDs[document.trained.sha256], document.source,
        document.shardsPerOutput, document.missing, document.badRows, document.spec,
        ContentDigest.of(document.spec).hex, version.sealedAt,
      ])
    let id = database.lastInsertedRowID
    for (ordinal, input) in version.lock.inputs.enumerated() {
      let shard = shardIDs[document.source]?[input.shard]
      try database.execute(
        sql: """
          INSERT INTO version_input (version_id, ordinal, shard_id, revision, is_hole, output_ordinal, first_id, row_count)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          id, ordinal, shard, input.sha256.flatMap { digest in shard.flatMap { revisions[$0]?[digest] } },
          input.sha256 == nil, input.output, input.firstId, input.rows,
        ])
    }
    try database.execute(sql: "UPDATE index_version SET state = 'building' WHERE id = ?", arguments: [id])
    for output in version.lock.outputs {
      try addArtifact(
        .outputShard, output.sha256, byteCount: output.bytes, for: "\(version.name), output \(output.output)")
      let inputs = version.lock.inputs.indices.filter { version.lock.inputs[$0].output == output.output }
      try database.execute(
        sql: """
          INSERT INTO output_shard (version_id, ordinal, sha256, first_input, last_input, first_id, end_id, row_count,
            byte_count, lists_sha256, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          id, output.output, output.sha256.hex, inputs.first ?? 0, inputs.last ?? 0, output.firstId, output.endId,
          output.rows, output.bytes, output.listsSha256.hex, version.sealedAt,
        ])
      summary.outputs += 1
    }
    try database.execute(
      sql: "UPDATE index_version SET state = 'sealed', version_sha256 = ?, sealed_at = ? WHERE id = ?",
      arguments: [version.digest.hex, version.sealedAt, id])
    summary.versions.append(version.name)
  }
}
