// Companions: which of their bytes say what the rows of a version are, and their packs.
//
// Invariants:
// 1. What is bound to a version has as many rows as its shard; what has not is never used.
// 2. A binding stays; a later revision is bound when somebody says so, and counts then.
// 3. Nothing of it is in a lock file, a digest or what a version is made from.

package import Base
internal import GRDB

/// A companion's shard that has other rows than the owner's.
package struct MisalignedShard: Sendable, Equatable {
  package let companion: String
  package let shard: String
  package let rowCount: Int
  package let owner: String
  /// nil where the owner has no shard of that ordinal.
  package let ownerShard: String?
  package let ownerRowCount: Int?
  /// Why it stands beside another shard than its name says; nil where it does not.
  package var reason: String?

  /// What is wrong, one line.
  package var text: String {
    if let reason {
      return "\(shard.printable) of \(companion) stands beside \(ownerShard?.printable ?? "nothing") of \(owner), "
        + "\(reason): it is used for no row"
    }
    guard let ownerShard, let ownerRowCount else {
      return "\(shard) of \(companion) stands beside no shard: \(owner) has fewer"
    }
    return "\(shard) of \(companion) has \(rowCount) rows where \(ownerShard) of \(owner) has \(ownerRowCount): "
      + "it is used for none of them"
  }
}

extension MisalignedShard {
  /// Of how many shards each is told: of a companion of another source all are misaligned.
  private static let mostTold = 5

  /// What is wrong with shards of companions, of the first ones of each a line, behind the last of those that stand
  /// elsewhere what can be done.
  ///
  /// - Parameter shards: The shards.
  /// - Returns: The lines, by companion.
  package static func lines(_ shards: [MisalignedShard]) -> [String] {
    Dictionary(grouping: shards, by: \.companion).sorted { $0.key < $1.key }.flatMap { lines(of: $0.key, $0.value) }
  }

  private static func lines(of companion: String, _ shards: [MisalignedShard]) -> [String] {
    let told = shards.prefix(mostTold)
    var lines = told.map(\.text)
    if shards.count > told.count {
      lines.append(
        "and \((shards.count - told.count).counted("more shard")) of \(companion) likewise; "
          + "`tarn sql \"SELECT * FROM v_companion WHERE companion = '\(companion)'\"` lists them")
    }
    if let stray = shards.last(where: { $0.reason != nil }) {
      let place = shards.count > told.count ? nil : told.lastIndex { $0.reason != nil }
      lines[place ?? lines.count - 1] += "; \(stray.way)"
    }
    return lines
  }

  /// What can be done where it stands beside another shard than its name says.
  package var way: String { LakeCatalog.way(besides: owner, companion: true) }
}

extension LakeCatalog {
  /// The companions of a source, by name: those of its files, which have the same rows for each source that reads them.
  package func companions(of owner: Source) throws -> [Source] {
    try read {
      try Source.fetchAll(
        $0, sql: "SELECT * FROM source WHERE companion_of = ? ORDER BY name", arguments: [owner.filesID])
    }
  }

  /// A companion by its name.
  ///
  /// - Parameter name: The companion.
  /// - Returns: Its source.
  /// - Throws: ``TarnError`` `.notFound`; `.usage` for a source of features.
  package func companion(named name: String) throws -> Source {
    let source = try source(named: name)
    guard source.isCompanion else {
      throw TarnError(
        .usage, "\(source.name) is a source of features, and has no rows to be shown",
        hint: "`tarn source add NAME --companion-of \(source.name)` registers what is known of its rows")
    }
    return source
  }

  /// A source of features by its name.
  ///
  /// - Parameters:
  ///   - name: The source.
  ///   - purpose: What is wanted of it, for the error: `be trained on`.
  /// - Returns: The source.
  /// - Throws: ``TarnError`` `.notFound`; `.usage` for a companion.
  package func features(named name: String, to purpose: String) throws -> Source {
    let source = try source(named: name)
    guard !source.isCompanion else { throw source.isNoFeatures(purpose) }
    return source
  }

  /// The shards of a companion whose rows are not as many as the owner's, and those that stand beside another shard than
  /// their names say.
  ///
  /// - Parameters:
  ///   - companion: The companion.
  ///   - ordinals: Places of the shards that matter; nil for all.
  /// - Returns: Those whose rows are known, by ordinal.
  /// - Throws: ``TarnError``.
  package func misaligned(of companion: Source, ordinals: Set<Int>? = nil) throws -> [MisalignedShard] {
    let chosen = ordinals.map { LakeCatalog.jsonList(of: $0) }
    return try read { database in
      let strays = try self.strays(of: companion, database)
      return try Row.fetchAll(
        database,
        sql: """
          SELECT * FROM v_companion WHERE companion = ?1 AND rows IS NOT NULL AND state <> 'dropped'
            AND (is_aligned = 0 OR owner_shard IS NULL OR ordinal IN (SELECT value FROM json_each(?2)))
            \(chosen == nil ? "" : "AND ordinal IN (SELECT value FROM json_each(?3))") ORDER BY ordinal
          """,
        arguments: StatementArguments(
          [companion.name, LakeCatalog.jsonList(of: Set(strays.keys))] + [chosen].compactMap(\.self))
      ).map { row in
        MisalignedShard(
          companion: row["companion"], shard: row["shard"], rowCount: row["rows"], owner: row["owner"],
          ownerShard: row["owner_shard"], ownerRowCount: row["owner_rows"], reason: strays[row["ordinal"]])
      }
    }
  }

  /// Numbers, as a query takes many of them.
  static func jsonList(of numbers: Set<some FixedWidthInteger>) -> String {
    JSONValue.array(numbers.sorted().map { .integer(Int64($0)) }).text
  }

  /// Binds what companions have to the versions whose rows it is about.
  ///
  /// - Parameters:
  ///   - companion: The companion.
  ///   - isAnew: Whether a later revision takes the place of one that is bound.
  /// - Returns: How many were bound.
  /// - Throws: ``TarnError``.
  package func bindCompanions(of companion: Source, anew isAnew: Bool) throws -> Int {
    try write("companions") { try LakeCatalog.bindCompanions(source: companion.id, anew: isAnew, $0) }
  }

  /// The same in a transaction, of one companion, one shard or one version.
  static func bindCompanions(
    source: Int64? = nil, shard: Int64? = nil, version: Int64? = nil, anew isAnew: Bool = false, _ database: Database
  ) throws -> Int {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT i.version_id AS version, h.id AS shard, h.current_revision AS revision
        FROM source s JOIN shard h ON h.source_id = s.id JOIN shard o ON o.source_id = s.companion_of AND o.ordinal = h.ordinal
        JOIN version_input i ON i.shard_id = o.id AND i.is_hole = 0
        JOIN index_version v ON v.id = i.version_id AND v.state = 'sealed'
        JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision AND r.row_count = i.row_count
        WHERE s.companion_of IS NOT NULL AND (?1 IS NULL OR s.id = ?1) AND (?2 IS NULL OR h.id = ?2)
          AND (?3 IS NULL OR v.id = ?3) AND h.dropped_row_count IS NULL
          AND NOT EXISTS (SELECT 1 FROM version_companion x WHERE x.version_id = i.version_id AND x.shard_id = h.id
            AND (x.revision >= h.current_revision OR NOT ?4))
        ORDER BY i.version_id, h.id
        """, arguments: [source, shard, version, isAnew])
    let now = Timestamp.now()
    for row in rows {
      try Pack.bind(version: row["version"], shard: row["shard"], revision: row["revision"], at: now, database)
    }
    return rows.count
  }

  /// What is bound to a version.
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - ordinals: Places of shards in its source; nil for all.
  /// - Returns: By companion and ordinal; of a shard the revision that counts. What stands beside another shard than its
  ///   name says is not among them.
  /// - Throws: ``TarnError``.
  package func boundCompanions(of version: IndexVersion, ordinals: Set<Int>? = nil) throws -> [BoundCompanion] {
    let chosen = ordinals.map { LakeCatalog.jsonList(of: $0) }
    return try read { database in
      let bound = try BoundCompanion.fetchAll(
        database,
        sql: """
          SELECT s.name AS source, h.name AS shard, h.ordinal AS ordinal, r.sha256, r.row_count,
            (SELECT b.path FROM stored_bytes b WHERE b.sha256 = r.sha256 AND b.place = 'shards'
              AND b.state = 'present') AS path,
            h.current_revision = c.revision AS is_newest
          FROM version_companion c JOIN shard h ON h.id = c.shard_id JOIN source s ON s.id = h.source_id
          JOIN shard o ON o.source_id = s.companion_of AND o.ordinal = h.ordinal
          JOIN shard_revision r ON r.shard_id = c.shard_id AND r.revision = c.revision
          WHERE c.version_id = ?1 AND (?2 IS NULL OR h.ordinal IN (SELECT value FROM json_each(?2)))
            AND NOT EXISTS (SELECT 1 FROM version_companion x WHERE x.version_id = c.version_id
              AND x.shard_id = c.shard_id AND x.revision > c.revision)
          ORDER BY s.name, h.ordinal
          """, arguments: [version.id, chosen])
      return try self.inPlace(bound, database)
    }
  }

  /// What the companions of a source have of shards as they are now, of whatever version.
  ///
  /// - Parameters:
  ///   - owner: The source.
  ///   - rowCounts: The shards that matter, by place, and the rows of each.
  /// - Returns: By companion and ordinal; what has other rows than its shard is not among them, nor what stands beside
  ///   another than its name says.
  /// - Throws: ``TarnError``.
  package func newestCompanions(of owner: Source, rowCounts: [Int: Int]) throws -> [BoundCompanion] {
    try read { database in
      let newest = try BoundCompanion.fetchAll(
        database,
        sql: """
          SELECT s.name AS source, h.name AS shard, h.ordinal AS ordinal, r.sha256, r.row_count,
            (SELECT b.path FROM stored_bytes b WHERE b.sha256 = r.sha256 AND b.place = 'shards'
              AND b.state = 'present') AS path,
            1 AS is_newest
          FROM source s JOIN shard h ON h.source_id = s.id
          JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
          WHERE s.companion_of = ?1 AND h.dropped_row_count IS NULL
            AND h.ordinal IN (SELECT value FROM json_each(?2))
          ORDER BY s.name, h.ordinal
          """, arguments: [owner.filesID, LakeCatalog.jsonList(of: Set(rowCounts.keys))])
      return try self.inPlace(newest.filter { rowCounts[$0.ordinal] == $0.rowCount }, database)
    }
  }

  /// Those that stand beside the shard that their names say.
  private func inPlace(_ found: [BoundCompanion], _ database: Database) throws -> [BoundCompanion] {
    let sources = Set(found.map(\.source))
    let strays = try Dictionary(
      uniqueKeysWithValues: Source.fetchAll(database, sql: "SELECT * FROM source WHERE companion_of IS NOT NULL")
        .filter { sources.contains($0.name) }.map { ($0.name, try self.strays(of: $0, database)) })
    return found.filter { strays[$0.source]?[$0.ordinal] == nil }
  }

  // MARK: Rows that are excluded

  /// Rows of which nothing is said any more, by the shard's place: those that are excluded of
  /// whatever bytes it had, of whichever source that reads its files.
  ///
  /// - Parameters:
  ///   - owner: The source of features.
  ///   - ordinals: Places of shards in it; nil for all.
  /// - Returns: Nothing for a shard that has none.
  /// - Throws: ``TarnError``.
  package func rowsWithoutColumns(of owner: Source, ordinals: Set<Int>? = nil) throws -> [Int: Set<Int>] {
    let chosen = ordinals.map { LakeCatalog.jsonList(of: $0) }
    return try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT DISTINCT ordinal, row FROM v_exclusion_entry WHERE is_in_force = 1
            AND source IN (SELECT name FROM source WHERE coalesce(files_of, id) = ?1)
            AND (?2 IS NULL OR ordinal IN (SELECT value FROM json_each(?2)))
          """, arguments: [owner.filesID, chosen]
      ).reduce(into: [:]) { $0[$1["ordinal"], default: []].insert($1["row"]) }
    }
  }

  // MARK: Packs

  /// The packs of some bytes of companions that are in the lake.
  ///
  /// - Parameters:
  ///   - digest: The companion's bytes.
  ///   - formatVersions: Of which formats.
  /// - Returns: Those of all columns first; of the same columns those of the newest format first, of one format that of
  ///   all rows first.
  /// - Throws: ``TarnError``.
  package func packs(of digest: ContentDigest, formatVersions: ClosedRange<Int>) throws -> [Pack] {
    try read { database in
      try Pack.fetchAll(
        database,
        sql: """
          SELECT p.* FROM pack p JOIN stored_bytes b ON b.sha256 = p.sha256 AND b.place = 'artifacts'
            AND b.state = 'present'
          WHERE p.companion_sha256 = ? AND p.format_version BETWEEN ? AND ?
          ORDER BY p.columns, p.format_version DESC, length(p.without_rows)
          """, arguments: [digest.hex, formatVersions.lowerBound, formatVersions.upperBound])
    }
  }

  /// Records a pack, durable at ``path(of:_:)`` (invariant 1); recording it again
  /// changes nothing.
  ///
  /// - Parameters:
  ///   - pack: The pack.
  ///   - byteCount: Its size.
  /// - Throws: ``TarnError`` `.differs` where the same rows gave other bytes before.
  package func record(_ pack: Pack, byteCount: Int) throws {
    try write("pack") { database in
      try LakeCatalog.addArtifact(pack.digest, .pack, byteCount: byteCount, database)
      let known = try String.fetchOne(
        database,
        sql: """
          SELECT sha256 FROM pack WHERE companion_sha256 = ? AND format_version = ? AND columns = ?
            AND without_rows = ?
          """,
        arguments: [
          pack.companion.hex, pack.formatVersion, Pack.text(of: pack.columns), ExcludedRows.text(pack.without) ?? "",
        ])
      guard let known else { return try pack.insert(database) }
      guard known == pack.digest.hex else {
        throw TarnError(
          .differs, "the pack of \(pack.companion.prefix(12)) is not the one that was made before",
          hint: "run `tarn verify`; report it if that finds nothing")
      }
    }
  }
}

extension Source {
  /// What is said of a companion where features are wanted.
  package func isNoFeatures(_ purpose: String) -> TarnError {
    TarnError(
      .usage, "\(name) is a companion: its rows say what is known of others, and cannot \(purpose)",
      hint: "name the source beside which it stands")
  }
}
