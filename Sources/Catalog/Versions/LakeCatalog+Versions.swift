// Index versions: planned, built segment by segment, sealed. Invariants 1, 4.

package import Base
internal import GRDB

/// An index version to build.
package struct VersionPlan: Sendable {
  /// What an input is when the version is planned.
  package enum Content: Sendable {
    /// These bytes: they, or their segment, are in the lake.
    case bytes(ShardRevision)
    /// Whatever its mirrors give; bound when it has arrived.
    case toFetch(lastSeen: ShardRevision?)
    /// Missing, and left out.
    case hole
  }

  /// One input, in order of the source.
  package struct Input: Sendable {
    package let shardID: Int64
    /// The shard's place in its source.
    package let shardOrdinal: Int
    package let content: Content
    package let outputOrdinal: Int
    package let firstID: Int64
    /// Rows, or the length of the hole.
    package let rowCount: Int
    /// Rows that the version must not have, ascending.
    package let excluded: [Int]
    /// Digest of the bytes whose rows those are.
    package let excludedOf: ContentDigest?

    /// The revision that is bound when the version is planned.
    fileprivate var boundRevision: ShardRevision? {
      if case .bytes(let revision) = content { revision } else { nil }
    }

    package var isHole: Bool { if case .hole = content { true } else { false } }

    /// Whether a recorded input can be this one.
    fileprivate func continues(_ recorded: VersionInput) -> Bool {
      guard recorded.shardID == shardID, recorded.firstID == firstID, recorded.rowCount == rowCount,
        recorded.outputOrdinal == outputOrdinal, recorded.isHole == isHole, recorded.excludedRows == excluded
      else { return false }
      guard let bound = recorded.revision else { return true }
      switch content {
      case .bytes(let revision): return revision.digest == bound.digest
      case .toFetch(let lastSeen): return lastSeen?.digest == bound.digest
      case .hole: return false
      }
    }

    package init(
      shardID: Int64, shardOrdinal: Int, content: Content, outputOrdinal: Int, firstID: Int64, rowCount: Int,
      excluded: [Int] = [], of excludedOf: ContentDigest? = nil
    ) {
      self.shardID = shardID
      self.shardOrdinal = shardOrdinal
      self.content = content
      self.outputOrdinal = outputOrdinal
      self.firstID = firstID
      self.rowCount = rowCount
      self.excluded = excluded
      self.excludedOf = excludedOf
    }
  }

  package let name: String
  package let trained: TrainedIndexRecord
  package let source: Source
  package let shardsPerOutput: Int
  package let missingPolicy: MissingPolicy
  package let badRowsPolicy: BadRowsPolicy
  /// Canonical JSON of what was asked for, without the inputs' revisions.
  package let spec: String
  /// Canonical JSON of the tool and the machine, for the record.
  package let environment: String
  package let inputs: [Input]

  package init(
    name: String, trained: TrainedIndexRecord, source: Source, shardsPerOutput: Int, missingPolicy: MissingPolicy,
    badRowsPolicy: BadRowsPolicy, spec: String, environment: String, inputs: [Input]
  ) {
    self.name = name
    self.trained = trained
    self.source = source
    self.shardsPerOutput = shardsPerOutput
    self.missingPolicy = missingPolicy
    self.badRowsPolicy = badRowsPolicy
    self.spec = spec
    self.environment = environment
    self.inputs = inputs
  }
}

extension VersionPlan {
  /// Canonical JSON of what a version is made from, without the inputs' revisions.
  ///
  /// - Parameters:
  ///   - trained: Digest of the trained index.
  ///   - source: Name of the source.
  ///   - array: The array of its files that it reads; nil, and unsaid, where they have one.
  ///   - shards: Places of the shards in the source.
  ///   - shardsPerOutput: Shards of an output.
  ///   - missing: Name of the policy for shards that are missing.
  ///   - badRows: Name of the policy for bad rows.
  ///   - excluded: Digest of the rows that are left out; nil for none, of which it says nothing.
  /// - Returns: The text.
  package static func spec(
    trained: ContentDigest, source: String, array: String?, shards: [Int], shardsPerOutput: Int, missing: String,
    badRows: String, excluded: ContentDigest? = nil
  ) -> String {
    var members: [String: JSONValue] = [
      "format": .integer(1), "trained": .string(trained.hex), "source": .string(source),
      "shards": .counts(shards), "shards_per_output": .count(shardsPerOutput),
      "missing": .string(missing), "bad_rows": .string(badRows),
    ]
    if let excluded { members["excluded"] = .string(excluded.hex) }
    if let array { members["array"] = .string(array) }
    return JSONValue.object(members).text
  }
}

extension LakeCatalog {
  /// Every version, by name and number.
  package func versions() throws -> [IndexVersion] {
    try read { try IndexVersion.fetchAll($0, sql: "SELECT * FROM index_version ORDER BY name, number") }
  }

  /// A version by its name.
  ///
  /// - Parameter name: `NAME@N`.
  /// - Returns: The version, in whatever state.
  /// - Throws: ``TarnError`` `.notFound`.
  package func version(_ name: VersionName) throws -> IndexVersion {
    let found = try read {
      try IndexVersion.fetchOne(
        $0, sql: "SELECT * FROM index_version WHERE name = ? AND number = ?", arguments: [name.name, name.number])
    }
    guard let found else {
      throw TarnError(
        .notFound, "there is no index version \(name)",
        hint: try near("\(name)", LakeCatalog.versionNames) ?? "`tarn versions` lists them")
    }
    return found
  }

  /// The version that a user means.
  ///
  /// - Parameter text: `NAME@N`, or `NAME` for the newest of its versions: of
  ///   those that are sealed if there are any.
  /// - Returns: `NAME@N`; of a version that is there, for a `NAME`.
  /// - Throws: ``TarnError`` `.usage`, `.notFound`.
  package func versionName(_ text: String) throws -> VersionName {
    try newestVersion(of: text)?.name ?? VersionName(parsing: text)
  }

  /// The newest version of a bare name.
  ///
  /// - Parameter text: `NAME`, or something else.
  /// - Returns: Of those that are sealed the newest, if there are any; nil for what is no bare name.
  /// - Throws: ``TarnError`` `.notFound`.
  package func newestVersion(of text: String) throws -> IndexVersion? {
    guard LakeName.isValid(text) else { return nil }
    let newest = try read {
      try IndexVersion.fetchOne(
        $0, sql: "SELECT * FROM index_version WHERE name = ? ORDER BY state = 'sealed' DESC, number DESC LIMIT 1",
        arguments: [text])
    }
    guard let newest else {
      throw TarnError(
        .notFound, "there is no index version of the name \(text)",
        hint: try near(text, "SELECT DISTINCT name FROM index_version") ?? "`tarn versions` lists all there are")
    }
    return newest
  }

  private static let versionNames = "SELECT name || '@' || number FROM index_version"

  /// Asks whether one of the names that a query gives was meant; nil where none is near.
  func near(_ name: String, _ query: String) throws -> String? {
    NearWords.question(name, among: try read { try String.fetchAll($0, sql: query) })
  }

  /// Asks whether another version or trained index was meant; nil where none is near.
  package func nearVersionOrTrainedIndex(_ name: String) throws -> String? {
    try near(name, "SELECT DISTINCT name FROM index_version UNION SELECT name FROM trained_index")
  }

  /// The inputs of a version, in order.
  package func inputs(of version: IndexVersion) throws -> [VersionInput] {
    try read { try LakeCatalog.inputs(ofVersion: version.id, $0) }
  }

  /// The inputs of one output of a version, in order.
  ///
  /// Takes time in proportion to them, not to the version's.
  package func inputs(ofOutput output: Int, of version: IndexVersion) throws -> [VersionInput] {
    // Whatever is planned fills outputs one after another.
    let first = output * version.shardsPerOutput
    return try read { database in
      try VersionInput.fetchAll(
        database,
        sql: VersionInput.select + """
           WHERE i.version_id = ? AND i.ordinal BETWEEN ? AND ? AND i.output_ordinal = ? ORDER BY i.ordinal
          """,
        arguments: [version.id, first, first + version.shardsPerOutput - 1, output])
    }
  }

  /// The finished outputs of a version, in order.
  package func outputs(of version: IndexVersion) throws -> [OutputShard] {
    try read {
      try OutputShard.fetchAll(
        $0, sql: "SELECT * FROM output_shard WHERE version_id = ? ORDER BY ordinal", arguments: [version.id])
    }
  }

  /// The shard that each finished output of a version begins with, by the output's number.
  package func firstShards(of version: IndexVersion) throws -> [Int: Int64] {
    try read { database in
      let rows = try Row.fetchAll(
        database,
        sql: """
          SELECT o.ordinal, i.shard_id FROM output_shard o
          JOIN version_input i ON i.version_id = o.version_id AND i.ordinal = o.first_input WHERE o.version_id = ?
          """, arguments: [version.id])
      return Dictionary(uniqueKeysWithValues: rows.map { row in (row["ordinal"] as Int, row["shard_id"] as Int64) })
    }
  }

  private static func inputs(ofVersion id: Int64, _ database: Database) throws -> [VersionInput] {
    try VersionInput.fetchAll(
      database, sql: VersionInput.select + " WHERE i.version_id = ? ORDER BY i.ordinal", arguments: [id])
  }

  /// Plans a version, or finds the one with the same specification and inputs.
  ///
  /// An unfinished version of the same specification whose inputs have changed
  /// since is abandoned, and the next number planned; so is one whose directory
  /// holds another version's files. A number that a directory has is not given again.
  /// Lock file and document of an abandoned one go: `rebuild-catalog` would take it for sealed.
  ///
  /// - Parameter plan: What to build from what.
  /// - Returns: The version: planned, building or already sealed.
  /// - Throws: ``TarnError``.
  package func planVersion(_ plan: VersionPlan) throws -> IndexVersion {
    try LakeCatalog.validate(name: plan.name, of: "version")
    // Those that a run gave up that died before they were gone, and those that this one gives up.
    try removeStatements(ofAbandoned: plan.name)
    if let version = try versionThere(plan) { return version }
    let specDigest = ContentDigest.of(plan.spec)
    let onDisk = try largestNumberOnDisk(of: plan.name)
    let version: IndexVersion = try write("plan version") { database in
      let now = Timestamp.now()
      try LakeCatalog.abandon(plan.name, specDigest, at: now, database)
      let number = try LakeCatalog.nextNumber(of: plan.name, onDisk: onDisk, database)
      let id = try IndexVersion.insert(
        VersionName(name: plan.name, number: number), trainedID: plan.trained.id, sourceID: plan.source.id,
        shardsPerOutput: plan.shardsPerOutput, missing: plan.missingPolicy, badRows: plan.badRowsPolicy,
        spec: plan.spec, environment: plan.environment, at: now, database)
      for (ordinal, input) in plan.inputs.enumerated() {
        try VersionInput.insert(
          of: id, ordinal: ordinal, shardID: input.shardID, revision: input.boundRevision?.number,
          isHole: input.isHole, output: input.outputOrdinal, firstID: input.firstID, rowCount: input.rowCount,
          excluded: input.excluded, database)
      }
      try database.execute(sql: "UPDATE index_version SET state = 'building' WHERE id = ?", arguments: [id])
      try LakeCatalog.record(
        .planned, "\(plan.name)@\(number)",
        [
          "trained": .string(plan.trained.name), "source": .string(plan.source.name),
          "inputs": .count(plan.inputs.count), "spec_sha256": .string(specDigest.hex),
        ], database)
      let planned = try IndexVersion.fetchOne(
        database, sql: "SELECT * FROM index_version WHERE id = ?", arguments: [id])
      guard let planned else { preconditionFailure("a row just inserted is gone") }
      return planned
    }
    try removeStatements(ofAbandoned: plan.name)
    return version
  }

  /// The version that a plan is of, if it was planned or sealed before.
  ///
  /// - Parameter plan: What to build from what.
  /// - Returns: The version that ``planVersion(_:)`` goes on with; nil where it makes another.
  /// - Throws: ``TarnError``.
  package func versionThere(_ plan: VersionPlan) throws -> IndexVersion? {
    let specDigest = ContentDigest.of(plan.spec)
    let existing = try read { database in
      try IndexVersion.fetchAll(
        database,
        sql: """
          SELECT * FROM index_version WHERE name = ? AND spec_sha256 = ? AND state IN ('planned', 'building', 'sealed')
          ORDER BY number DESC
          """, arguments: [plan.name, specDigest.hex])
    }
    // Of a source with exclusions the newest version is what a name means: an older one that has
    // the rows that this one is to have must not stay behind it.
    let newest = try hasExclusions(plan.source) ? newestSealedNumber(of: plan.name) : 0
    for version in existing where version.state != .sealed || version.name.number >= newest {
      let recorded = try inputs(of: version)
      guard recorded.count == plan.inputs.count, zip(plan.inputs, recorded).allSatisfy({ $0.continues($1) }) else {
        continue
      }
      // A catalog that was put back may not know what was sealed under this number.
      if version.state != .sealed, try isTaken(version) { continue }
      return version
    }
    return nil
  }

  /// The name that a version would get if it were planned now.
  package func nextVersion(of name: String) throws -> VersionName {
    let onDisk = try largestNumberOnDisk(of: name)
    return VersionName(name: name, number: try read { try LakeCatalog.nextNumber(of: name, onDisk: onDisk, $0) })
  }

  private static func nextNumber(of name: String, onDisk: Int, _ database: Database) throws -> Int {
    let last = try Int.fetchOne(
      database, sql: "SELECT max(number) FROM index_version WHERE name = ?", arguments: [name])
    return max(last ?? 0, onDisk) + 1
  }

  private func newestSealedNumber(of name: String) throws -> Int {
    try read {
      try Int.fetchOne(
        $0, sql: "SELECT max(number) FROM index_version WHERE name = ? AND state = 'sealed'", arguments: [name])
    } ?? 0
  }

  /// Gives up the unfinished versions of a specification.
  private static func abandon(
    _ name: String, _ specDigest: ContentDigest, at now: String, _ database: Database
  ) throws {
    let numbers = try Int.fetchAll(
      database,
      sql: """
        UPDATE index_version SET state = 'abandoned', ended_at = ?
        WHERE name = ? AND spec_sha256 = ? AND state IN ('planned', 'building') RETURNING number
        """, arguments: [now, name, specDigest.hex])
    for number in numbers { try record(.abandoned, "\(name)@\(number)", [:], database) }
  }

  /// Fixes the bytes of an input that was planned before they were here.
  ///
  /// - Parameters:
  ///   - input: An input of the version.
  ///   - version: A version that is building.
  ///   - revision: The bytes it was built from.
  /// - Throws: ``TarnError`` `.inputsMissing` for other bytes than those that it has already; `.integrity`
  ///   when they have another number of rows than was planned: the ids after it would shift.
  package func bind(_ input: VersionInput, of version: IndexVersion, to revision: ShardRevision) throws {
    if let bound = input.revision {
      guard bound.digest == revision.digest else {
        throw TarnError(
          .inputsMissing, "\(input.shardName) has changed on its servers since \(version.name) was begun",
          hint: "build again to make the next version from the new bytes")
      }
      return
    }
    guard revision.rowCount == input.rowCount else {
      throw TarnError(
        .integrity, "\(input.shardName) has \(revision.rowCount) rows and its expected size says \(input.rowCount)",
        hint: "correct the sizes the source was registered with")
    }
    try write("bind") { database in
      try database.execute(
        sql: "UPDATE version_input SET revision = ? WHERE version_id = ? AND ordinal = ?",
        arguments: [revision.number, version.id, input.ordinal])
    }
  }

  /// Leaves an input out that no mirror gave: its ids become a hole.
  package func leaveOut(_ input: VersionInput, of version: IndexVersion) throws {
    try write("hole") { database in
      try database.execute(
        sql: "UPDATE version_input SET is_hole = 1 WHERE version_id = ? AND ordinal = ? AND revision IS NULL",
        arguments: [version.id, input.ordinal])
    }
  }

  /// The segment of a shard's bytes, or of one of their arrays, under a trained index, if its bytes are in
  /// the lake.
  package func segment(
    trained: ContentDigest, shard: ContentDigest, array: String?, badRows: BadRowsPolicy, formatVersion: Int
  ) throws -> SegmentRecord? {
    try read {
      try SegmentRecord.fetchOne(
        $0,
        sql: """
          SELECT g.* FROM segment g
          JOIN stored_bytes b ON b.sha256 = g.sha256 AND b.place = 'artifacts' AND b.state = 'present'
          WHERE g.trained_sha256 = ? AND g.shard_sha256 = ? AND g.array_name = ? AND g.bad_rows_policy = ?
            AND g.format_version = ?
          """, arguments: [trained.hex, shard.hex, array ?? "", badRows.rawValue, formatVersion])
    }
  }

  /// The segments of a source's shards under a trained index whose bytes are in
  /// the lake, asked once for all of them.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - trained: Digest of the trained index.
  ///   - badRows: What was done about bad rows.
  ///   - formatVersion: Format of the segments.
  /// - Returns: By digest of the shard's bytes, whichever revision has them.
  /// - Throws: ``TarnError``.
  package func segments(
    of source: Source, trained: ContentDigest, badRows: BadRowsPolicy, formatVersion: Int
  ) throws -> [ContentDigest: StoredSegment] {
    let found = try read {
      try StoredSegment.fetchAll(
        $0,
        sql: """
          SELECT g.*, b.byte_count, b.path FROM shard h CROSS JOIN shard_revision r CROSS JOIN segment g
          JOIN stored_bytes b ON b.sha256 = g.sha256 AND b.place = 'artifacts' AND b.state = 'present'
          WHERE h.source_id = ? AND r.shard_id = h.id AND g.trained_sha256 = ? AND g.shard_sha256 = r.sha256
            AND g.array_name = ? AND g.bad_rows_policy = ? AND g.format_version = ?
          """, arguments: [source.filesID, trained.hex, source.array ?? "", badRows.rawValue, formatVersion])
    }
    return Dictionary(found.map { ($0.segment.shardDigest, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Records a segment's file, durable at ``path(of:_:)`` (invariant 1).
  package func recordSegment(_ segment: SegmentRecord, byteCount: Int) throws {
    try write("segment") { database in
      try LakeCatalog.addArtifact(segment.digest, .segment, byteCount: byteCount, database)
      try segment.insert(database)
    }
  }

  /// Records a finished output shard, durable at ``path(of:_:)`` (invariant 1).
  package func recordOutput(_ output: OutputShard, of version: IndexVersion) throws {
    try write("output") { database in try LakeCatalog.record(output, of: version, database) }
  }

  /// As ``recordOutput(_:of:)``, within a transaction.
  static func record(
    _ output: OutputShard, of version: IndexVersion, recheck: OutputRecheck? = nil, _ database: Database
  ) throws {
    try addArtifact(output.digest, .outputShard, byteCount: output.byteCount, database)
    if let refine = output.refine {
      try addArtifact(refine.digest, .refineShard, byteCount: refine.byteCount, database)
    }
    try output.insert(of: version.id, at: Timestamp.now(), database)
    var detail: [String: JSONValue] = [
      "output": .count(output.ordinal), "sha256": .string(output.digest.hex), "rows": .count(output.rowCount),
      "bytes": .count(output.byteCount),
    ]
    // Absent without one, as the history always had it.
    if let refine = output.refine { detail["refine_sha256"] = .string(refine.digest.hex) }
    if let recheck { detail["recheck"] = recheck.json }
    try record(.output, "\(version.name)", detail, database)
  }

  /// Seals a version: from here on the database refuses to change it.
  ///
  /// - Parameters:
  ///   - version: A version that is building, with every output recorded.
  ///   - lock: Text of the lock file, durable beside the outputs; its digest is
  ///     the version's, and it is kept as it is.
  ///   - place: Where it was published, for the history; nil for one that was built here.
  /// - Throws: ``TarnError`` `.database` when an input or output is missing.
  package func seal(_ version: IndexVersion, lock: String, from place: String? = nil) throws {
    let digest = ContentDigest.of(lock)
    try write("seal") { database in
      try database.execute(
        sql: """
          UPDATE index_version SET state = 'sealed', version_sha256 = ?, sealed_at = ? WHERE id = ? AND state = 'building'
          """, arguments: [digest.hex, Timestamp.now(), version.id])
      guard database.changesCount > 0 else { return }
      try LockTextRow.insert(lock, of: version.id, database)
      let environment = try String.fetchOne(
        database, sql: "SELECT environment FROM index_version WHERE id = ?", arguments: [version.id])
      var detail: [String: JSONValue] = [
        "sha256": .string(digest.hex), "environment_sha256": .optional(environment.map { ContentDigest.of($0).hex }),
      ]
      if let place { detail["from"] = .string(place) }
      if let published = version.publishedName { detail["published_as"] = .string("\(published)") }
      try LakeCatalog.record(.sealed, "\(version.name)", detail, database)
      _ = try LakeCatalog.bindCompanions(version: version.id, database)
    }
  }

  /// Keeps the outcome of a rebuild.
  ///
  /// - Parameters:
  ///   - version: The version that was rebuilt.
  ///   - startedAt: When, in the catalog's form.
  ///   - outcome: One of the column's values.
  ///   - detail: JSON.
  ///   - environment: JSON.
  /// - Throws: ``TarnError``.
  package func recordReproduction(
    of version: IndexVersion, startedAt: String, outcome: ReproductionOutcome, detail: String, environment: String
  ) throws {
    try write("reproduction") { database in
      let id = try ReproductionRow.insert(
        of: version.id, startedAt: startedAt, outcome: outcome, detail: detail, environment: environment, database)
      try LakeCatalog.record(
        .reproduction, "\(version.name)",
        [
          "outcome": .string(outcome.rawValue), "sha256": .string(try RecordDigests.reproduction(id, database).hex),
        ], database)
    }
  }
}

/// What a rebuild found.
package enum ReproductionOutcome: String, Sendable, CaseIterable {
  /// Every byte of every output is the same.
  case identical
  /// The lists hold the same pairs of id and code in another file layout.
  case sameLists = "same-lists"
  case differs
  case inputsMissing = "inputs-missing"
}
