// Rows that must not be found: lists that are only ever added to. Invariants: Catalog.md,
// Exclusions.

package import Base
internal import GRDB

/// What a list does with its rows.
package enum ExclusionKind: String, Sendable, CaseIterable {
  case exclude
  /// They may be found again: a mistake is answered, not undone.
  case readmit
}

/// Rows of a shard's bytes.
package struct ShardRows: Sendable {
  package let revision: ShardRevision
  /// Ascending.
  package let rows: [Int]

  package init(revision: ShardRevision, rows: [Int]) {
    self.revision = revision
    self.rows = rows
  }
}

/// A list that was added.
package struct ExclusionList: Sendable {
  /// Of its source, from 1.
  package let number: Int
  package let digest: ContentDigest
  /// Rows of which it changed what is said.
  package let rowCount: Int
}

/// Who says that rows are excluded.
package enum ExclusionOrigin: Sendable {
  /// Somebody who named them.
  case named
  /// A rule that found them.
  case rules
  case anyone
}

extension LakeCatalog {
  /// The rows of a source that are excluded, by shard and digest of its bytes, ascending.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - origin: By whom.
  /// - Returns: What the lists and rules say together, the later before the earlier.
  /// - Throws: ``TarnError``.
  package func exclusions(
    of source: Source, by origin: ExclusionOrigin = .anyone
  ) throws -> [Int64: [ContentDigest: [Int]]] {
    try read { try LakeCatalog.exclusions(of: source.id, by: origin, $0) }
  }

  /// Whether anything was ever excluded of a source, or is by a rule once it is found.
  package func hasExclusions(_ source: Source) throws -> Bool {
    try read {
      try Bool.fetchOne(
        $0,
        sql: """
          SELECT EXISTS (SELECT 1 FROM exclusion_list WHERE source_id = ?1)
            OR EXISTS (SELECT 1 FROM exclusion_rule WHERE source_id = ?1)
          """, arguments: [source.id]) ?? false
    }
  }

  static func exclusions(
    of sourceID: Int64, by origin: ExclusionOrigin, _ database: Database
  ) throws -> [Int64: [ContentDigest: [Int]]] {
    var found: [Int64: [ContentDigest: [Int]]] = [:]
    let rows = try Row.fetchCursor(
      database,
      sql: """
        SELECT DISTINCT e.shard_id, e.sha256, e.row FROM v_exclusion_entry e JOIN source s ON s.name = e.source
        WHERE s.id = ?1 AND e.is_in_force = 1 AND (?2 OR e.rule IS NULL) AND (?3 OR e.rule IS NOT NULL)
        ORDER BY e.shard_id, e.sha256, e.row
        """, arguments: [sourceID, origin != .named, origin != .rules])
    while let row = try rows.next() {
      found[row["shard_id"], default: [:]][try row.requiredDigest("sha256"), default: []].append(row["row"])
    }
    return found
  }

  /// Adds a list, without the rows of which it would say what is said already.
  ///
  /// - Parameters:
  ///   - kind: What it does.
  ///   - rows: Whose, each shard's revision once.
  ///   - source: Their source.
  ///   - reason: Why, for people.
  /// - Returns: The list; nil when it would have no row.
  /// - Throws: ``TarnError``; then nothing has changed.
  package func addExclusions(
    _ kind: ExclusionKind, _ rows: [ShardRows], of source: Source, reason: String
  ) throws -> ExclusionList? {
    try write("exclude") { try LakeCatalog.addExclusions(kind, rows, of: source, reason: reason, $0) }
  }

  /// What a list would say that those before it do not; what rules say is not asked.
  ///
  /// - Parameters:
  ///   - kind: What it would do.
  ///   - rows: Whose, each shard's revision once.
  ///   - source: Their source.
  /// - Returns: The rows of it that would change something.
  /// - Throws: ``TarnError``.
  package func changes(_ kind: ExclusionKind, _ rows: [ShardRows], of source: Source) throws -> [ShardRows] {
    try read { try LakeCatalog.changes(kind, rows, of: source, $0) }
  }

  private static func changes(
    _ kind: ExclusionKind, _ rows: [ShardRows], of source: Source, _ database: Database
  ) throws -> [ShardRows] {
    let known = try exclusions(of: source.id, by: .named, database)
    return rows.compactMap { of in
      let excluded = Set(known[of.revision.shardID]?[of.revision.digest] ?? [])
      let rows = of.rows.filter { excluded.contains($0) == (kind == .readmit) }
      return rows.isEmpty ? nil : ShardRows(revision: of.revision, rows: rows)
    }
  }

  static func addExclusions(
    _ kind: ExclusionKind, _ rows: [ShardRows], of source: Source, reason: String, _ database: Database
  ) throws -> ExclusionList? {
    try addList(
      kind, changes(kind, rows, of: source, database).map { ($0.revision, $0.rows.map { ($0, nil) }) }, of: source,
      reason: reason, rule: nil, database)
  }

  /// Adds a list of just these rows, each with the value that a rule found there.
  static func addList(
    _ kind: ExclusionKind, _ rows: [(revision: ShardRevision, rows: [(row: Int, value: ContentDigest?)])],
    of source: Source, reason: String, rule: (id: Int64, number: Int)?, _ database: Database
  ) throws -> ExclusionList? {
    guard let digest = ExcludedRows.digest(rows.map { ($0.revision.digest, $0.rows.map(\.row)) }) else { return nil }
    let last = try Int.fetchOne(
      database, sql: "SELECT max(number) FROM exclusion_list WHERE source_id = ?", arguments: [source.id])
    let (number, count) = ((last ?? 0) + 1, rows.reduce(0) { $0 + $1.rows.count })
    let id = try ExclusionRow.insertList(
      of: source.id, number: number, kind, reason: reason, rowCount: count, digest: digest, rule: rule?.id, database)
    for of in rows {
      for (row, value) in of.rows { try ExclusionRow.insert(row, of: of.revision, list: id, value: value, database) }
    }
    var detail: [String: JSONValue] = [
      "list": .count(number), "rows": .count(count), "sha256": .string(digest.hex), "reason": .string(reason),
    ]
    if let rule { detail["rule"] = .count(rule.number) }
    try record(kind == .exclude ? .excluded : .readmitted, source.name, detail, database)
    return ExclusionList(number: number, digest: digest, rowCount: count)
  }

  /// Excludes what a version of elsewhere, or of a lost catalog, was made without, so that
  /// no later one has it again.
  ///
  /// - Parameter version: The version.
  /// - Throws: ``TarnError``.
  package func adoptExclusions(of version: IndexVersion) throws {
    try write("exclude") { try LakeCatalog.adoptExclusions(ofVersion: version.id, $0) }
  }

  /// As ``adoptExclusions(of:)``, within a transaction.
  ///
  /// - Parameters:
  ///   - id: The version's.
  ///   - database: The connection.
  /// - Throws: SQLite's error.
  static func adoptExclusions(ofVersion id: Int64, _ database: Database) throws {
    guard let (version, source, inputs) = try statement(ofVersion: id, database) else { return }
    let without = inputs.compactMap { input in
      input.revision.map { ShardRows(revision: $0, rows: input.excludedRows) }
    }
    _ = try addExclusions(
      .exclude, without.filter { !$0.rows.isEmpty }, of: source,
      reason: "\(version.sealedName) was made without them", database)
  }

  /// Readmits what a version of a lost catalog has again that a lower number of its name was made without.
  ///
  /// Nothing else tells of a list that is lost that it was answered: another name may have been sealed before it, or
  /// by somebody who has no such list.
  ///
  /// - Parameters:
  ///   - id: The version's, made in this lake; those below it are in the catalog.
  ///   - database: The connection.
  /// - Returns: How many rows may be found again.
  /// - Throws: SQLite's error.
  static func readmitRows(ofVersion id: Int64, _ database: Database) throws -> Int {
    guard let (version, source, inputs) = try statement(ofVersion: id, database) else { return 0 }
    let below = try VersionInput.fetchAll(
      database,
      sql: VersionInput.select + """
         JOIN index_version v ON v.id = i.version_id
        WHERE v.name = ? AND v.number < ? AND v.source_id = ? AND i.excluded_rows IS NOT NULL
        """, arguments: [version.name.name, version.name.number, source.id])
    var without: [Int64: [ContentDigest: Set<Int>]] = [:]
    for input in below {
      guard let revision = input.revision else { continue }
      without[revision.shardID, default: [:]][revision.digest, default: []].formUnion(input.excludedRows)
    }
    guard !without.isEmpty else { return 0 }
    let inForce = try exclusions(of: source.id, by: .named, database)
    let with = inputs.compactMap { input -> ShardRows? in
      guard let revision = input.revision, let missed = without[revision.shardID]?[revision.digest] else { return nil }
      let excluded = inForce[revision.shardID]?[revision.digest] ?? []
      let rows = missed.intersection(excluded).subtracting(input.excludedRows)
      return rows.isEmpty ? nil : ShardRows(revision: revision, rows: rows.sorted())
    }
    let list = try addExclusions(
      .readmit, with, of: source, reason: "\(version.sealedName) was made with them", database)
    return list?.rowCount ?? 0
  }

  /// A version with its source and its inputs, in order.
  private static func statement(
    ofVersion id: Int64, _ database: Database
  ) throws -> (version: IndexVersion, source: Source, inputs: [VersionInput])? {
    guard
      let version = try IndexVersion.fetchOne(
        database, sql: "SELECT * FROM index_version WHERE id = ?", arguments: [id]),
      let source = try Source.fetchOne(
        database, sql: "SELECT * FROM source WHERE id = ?", arguments: [version.sourceID])
    else { return nil }
    let inputs = try VersionInput.fetchAll(
      database, sql: VersionInput.select + " WHERE i.version_id = ? ORDER BY i.ordinal", arguments: [id])
    return (version, source, inputs)
  }

  /// The revisions of a shard of which rows are excluded.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - rows: Its excluded rows, by the digest of the bytes, of ``exclusions(of:by:)``.
  /// - Returns: Each with its rows.
  /// - Throws: ``TarnError``.
  package func revisions(of shard: Shard, _ rows: [ContentDigest: [Int]]) throws -> [ShardRows] {
    guard !rows.isEmpty else { return [] }
    return try read {
      try ShardRevision.fetchAll(
        $0, sql: "SELECT * FROM shard_revision WHERE shard_id = ? ORDER BY revision", arguments: [shard.id])
    }.compactMap { revision in rows[revision.digest].map { ShardRows(revision: revision, rows: $0) } }
  }

  /// Why a row of a shard's bytes is excluded: the reason of the newest list that says so.
  package func reasonForExclusion(ofRow row: Int, of revision: ShardRevision, in source: String) throws -> String? {
    try read {
      try String.fetchOne(
        $0,
        sql: """
          SELECT reason FROM v_exclusion_entry WHERE shard_id = ? AND revision = ? AND row = ? AND source = ?
            AND kind = 'exclude' ORDER BY is_in_force DESC, list DESC LIMIT 1
          """, arguments: [revision.shardID, revision.number, row, source])
    }
  }
}
