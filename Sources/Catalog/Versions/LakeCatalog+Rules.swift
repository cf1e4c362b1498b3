// Rules of exclusions: a column of a companion and values of it, whose rows go. Values are
// kept as digests alone; what a rule found is on lists, with the bytes that it was found of.
// Invariants: Catalog.md, Exclusions.

package import Base
internal import GRDB

/// A rule with those of its values that are in force.
package struct ExclusionRule: Sendable {
  package let id: Int64
  /// Of its source, from 1.
  package let number: Int
  package let companionID: Int64
  /// The companion's name.
  package let companion: String
  package let column: String
  package let reason: String
  /// In the catalog's form.
  package let madeAt: String
  /// SHA-256 of the texts of its values.
  package let values: Set<ContentDigest>

  package init(
    id: Int64, number: Int, companionID: Int64, companion: String, column: String, reason: String, madeAt: String,
    values: Set<ContentDigest>
  ) {
    (self.id, self.number, self.reason, self.madeAt, self.values) = (id, number, reason, madeAt, values)
    (self.companionID, self.companion, self.column) = (companionID, companion, column)
  }
}

/// What a rule found in the rows of a shard.
package struct RuleScan: Sendable {
  package let rule: ExclusionRule
  /// The bytes whose rows they are.
  package let revision: ShardRevision
  /// The companion's bytes that said so.
  package let companion: ShardRevision
  /// Ascending.
  package let matches: [RuleMatch]

  package init(rule: ExclusionRule, revision: ShardRevision, companion: ShardRevision, matches: [RuleMatch]) {
    (self.rule, self.revision, self.companion, self.matches) = (rule, revision, companion, matches)
  }

  /// A shard's bytes held against a rule by bytes of a companion.
  package struct Key: Hashable, Sendable {
    package let rule: Int64
    package let shardID: Int64
    package let revision: Int
    package let companionShardID: Int64
    package let companionRevision: Int

    package init(rule: Int64, shardID: Int64, revision: Int, companionShardID: Int64, companionRevision: Int) {
      (self.rule, self.shardID, self.revision) = (rule, shardID, revision)
      (self.companionShardID, self.companionRevision) = (companionShardID, companionRevision)
    }
  }
}

/// A row that a rule is about.
package struct RuleMatch: Sendable, Hashable {
  package let row: Int
  /// SHA-256 of the text of its value.
  package let value: ContentDigest

  package init(row: Int, value: ContentDigest) { (self.row, self.value) = (row, value) }
}

/// A rule that was added.
package struct AddedRule: Sendable {
  /// Of its source, from 1.
  package let number: Int
  package let digest: ContentDigest
  /// Values of which it changed what is said.
  package let valueCount: Int
}

extension LakeCatalog {
  /// The rules of a source that have a value in force, by number.
  ///
  /// - Parameter source: The source.
  /// - Returns: Those that exclude, each with the values that no later one took back.
  /// - Throws: ``TarnError``.
  package func exclusionRules(of source: Source) throws -> [ExclusionRule] {
    try read { try LakeCatalog.exclusionRules(of: source.id, $0) }
  }

  private static func exclusionRules(of sourceID: Int64, _ database: Database) throws -> [ExclusionRule] {
    var values: [Int64: Set<ContentDigest>] = [:]
    let rows = try Row.fetchCursor(
      database,
      sql: """
        SELECT u.id, v.sha256 FROM exclusion_rule u JOIN exclusion_value v ON v.rule_id = u.id
        WHERE u.source_id = ? AND u.kind = 'exclude' AND NOT EXISTS (SELECT 1 FROM exclusion_value w
          JOIN exclusion_rule n ON n.id = w.rule_id WHERE w.sha256 = v.sha256 AND n.source_id = u.source_id
            AND n.companion_id = u.companion_id AND n.column_name = u.column_name AND n.number > u.number)
        """, arguments: [sourceID])
    while let row = try rows.next() { values[row["id"], default: []].insert(try row.requiredDigest("sha256")) }
    return try Row.fetchAll(
      database,
      sql: """
        SELECT u.*, c.name AS companion FROM exclusion_rule u JOIN source c ON c.id = u.companion_id
        WHERE u.source_id = ? ORDER BY u.number
        """, arguments: [sourceID]
    ).compactMap { row in
      guard let own = values[row["id"]] else { return nil }
      return ExclusionRule(
        id: row["id"], number: row["number"], companionID: row["companion_id"], companion: row["companion"],
        column: row["column_name"], reason: row["reason"], madeAt: row["created_at"], values: own)
    }
  }

  /// What was held against rules of a source before.
  package func ruleScans(of source: Source) throws -> Set<RuleScan.Key> {
    try read { database in
      try Row.fetchAll(
        database,
        sql: "SELECT n.* FROM exclusion_scan n JOIN exclusion_rule u ON u.id = n.rule_id WHERE u.source_id = ?",
        arguments: [source.id]
      ).reduce(into: []) { found, row in
        found.insert(
          RuleScan.Key(
            rule: row["rule_id"], shardID: row["shard_id"], revision: row["revision"],
            companionShardID: row["companion_shard_id"], companionRevision: row["companion_revision"]))
      }
    }
  }

  /// What a rule would change of what the rules say.
  ///
  /// - Parameters:
  ///   - kind: What it does.
  ///   - values: SHA-256 of the texts of its values.
  ///   - companion: Whose column it is.
  ///   - column: The column.
  ///   - source: The source whose rows go.
  /// - Returns: The values, ascending.
  /// - Throws: ``TarnError``.
  package func changes(
    _ kind: ExclusionKind, _ values: Set<ContentDigest>, of companion: Source, column: String, in source: Source
  ) throws -> [ContentDigest] {
    try read { try LakeCatalog.changes(kind, values, of: companion, column: column, in: source, $0) }
  }

  private static func changes(
    _ kind: ExclusionKind, _ values: Set<ContentDigest>, of companion: Source, column: String, in source: Source,
    _ database: Database
  ) throws -> [ContentDigest] {
    let inForce = try exclusionRules(of: source.id, database)
      .filter { $0.companionID == companion.id && $0.column == column }
      .reduce(into: Set<ContentDigest>()) { $0.formUnion($1.values) }
    let changed = kind == .exclude ? values.subtracting(inForce) : values.intersection(inForce)
    return changed.sorted { $0.hex < $1.hex }
  }

  /// Adds a rule, without the values of which it would say what is said already.
  ///
  /// - Parameters:
  ///   - kind: What it does.
  ///   - values: SHA-256 of the texts of its values.
  ///   - companion: Whose column it is.
  ///   - column: The column.
  ///   - source: The source whose rows go.
  ///   - reason: Why, for people.
  /// - Returns: The rule; nil when it would have no value.
  /// - Throws: ``TarnError``; then nothing has changed.
  package func addRule(
    _ kind: ExclusionKind, _ values: Set<ContentDigest>, of companion: Source, column: String, in source: Source,
    reason: String
  ) throws -> AddedRule? {
    try write("exclude") { database in
      let changed = try LakeCatalog.changes(
        kind, values, of: companion, column: column, in: source, database)
      guard !changed.isEmpty else { return nil }
      let digest = ContentDigest.of(changed.map { "\($0.hex)\n" }.joined())
      let last = try Int.fetchOne(
        database, sql: "SELECT max(number) FROM exclusion_rule WHERE source_id = ?", arguments: [source.id])
      let number = (last ?? 0) + 1
      _ = try ExclusionRow.insertRule(
        of: source.id, number: number, kind, companion: companion.id, column: column, reason: reason, values: changed,
        digest: digest, database)
      try LakeCatalog.record(
        kind == .exclude ? .excluded : .readmitted, source.name,
        [
          "rule": .count(number), "companion": .string(companion.name), "column": .string(column),
          "values": .count(changed.count), "sha256": .string(digest.hex), "reason": .string(reason),
        ], database)
      return AddedRule(number: number, digest: digest, valueCount: changed.count)
    }
  }

  /// The values of a column that rules of a source were ever found at a row of.
  ///
  /// - Parameters:
  ///   - companion: Whose column it is.
  ///   - column: The column.
  ///   - source: The source.
  /// - Returns: SHA-256 of their texts.
  /// - Throws: ``TarnError``.
  package func valuesFound(of companion: Source, column: String, in source: Source) throws -> Set<ContentDigest> {
    try read { database in
      var found: Set<ContentDigest> = []
      let rows = try Row.fetchCursor(
        database,
        sql: """
          SELECT DISTINCT x.value_sha256 FROM exclusion_rule u JOIN exclusion_list l ON l.rule_id = u.id
          JOIN exclusion_row x ON x.list_id = l.id
          WHERE u.source_id = ? AND u.companion_id = ? AND u.column_name = ? AND x.value_sha256 IS NOT NULL
          """, arguments: [source.id, companion.id, column])
      while let row = try rows.next() { found.insert(try row.requiredDigest("value_sha256")) }
      return found
    }
  }

  /// Puts what rules found on lists, one a rule, and notes what was looked at.
  ///
  /// - Parameters:
  ///   - scans: What was found; what is noted already changes nothing.
  ///   - source: The source.
  /// - Returns: Rows that were put on a list, by the rule's number.
  /// - Throws: ``TarnError``; then nothing has changed.
  @discardableResult
  package func add(_ scans: [RuleScan], of source: Source) throws -> [Int: Int] {
    guard !scans.isEmpty else { return [:] }
    return try write("exclude") { database in
      var listed: [Int: Int] = [:]
      for (_, own) in Dictionary(grouping: scans, by: \.rule.id).sorted(by: { $0.key < $1.key }) {
        let rule = own[0].rule
        var found: [(revision: ShardRevision, rows: [(row: Int, value: ContentDigest?)])] = []
        for (revision, scans) in Dictionary(grouping: own, by: \.revision).sorted(by: {
          ($0.key.shardID, $0.key.number) < ($1.key.shardID, $1.key.number)
        }) {
          let known = try Set(
            Row.fetchAll(
              database,
              sql: """
                SELECT x.row, x.value_sha256 FROM exclusion_row x JOIN exclusion_list l ON l.id = x.list_id
                WHERE x.shard_id = ? AND x.revision = ? AND l.rule_id = ?
                """, arguments: [revision.shardID, revision.number, rule.id]
            ).map { RuleMatch(row: $0["row"], value: try $0.requiredDigest("value_sha256")) })
          var rows: [Int: ContentDigest] = [:]
          for match in scans.flatMap(\.matches) where !known.contains(match) { rows[match.row] = match.value }
          if !rows.isEmpty { found.append((revision, rows.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })) }
        }
        if !found.isEmpty { listed[rule.number] = found.reduce(0) { $0 + $1.rows.count } }
        _ = try LakeCatalog.addList(
          .exclude, found, of: source, reason: rule.reason, rule: (rule.id, rule.number), database)
        for scan in own {
          let isKnown = try Bool.fetchOne(
            database,
            sql: """
              SELECT EXISTS (SELECT 1 FROM exclusion_scan WHERE rule_id = ? AND shard_id = ? AND revision = ?
                AND companion_shard_id = ? AND companion_revision = ?)
              """,
            arguments: [
              rule.id, scan.revision.shardID, scan.revision.number, scan.companion.shardID, scan.companion.number,
            ])
          guard isKnown != true else { continue }
          try ExclusionRow.insertScan(rule: rule.id, of: scan.revision, by: scan.companion, database)
        }
      }
      return listed
    }
  }

  /// How many rows nothing else excludes than some values.
  ///
  /// - Parameters:
  ///   - values: SHA-256 of the texts of values that are in force.
  ///   - source: The source whose rows they are.
  ///   - companion: Whose column has the values.
  ///   - column: The column.
  /// - Returns: How many may be found again once the values are taken back.
  /// - Throws: ``TarnError``.
  package func rows(
    found values: [ContentDigest], in source: Source, companion: Source, column: String
  ) throws -> Int {
    try read { database in
      let rows = try Row.fetchCursor(
        database,
        sql: """
          SELECT e.shard_id, e.revision, e.row, max(CASE WHEN u.companion_id = ?2 AND u.column_name = ?3
            AND x.value_sha256 IN (SELECT value FROM json_each(?4)) THEN 0 ELSE 1 END) AS is_held
          FROM v_exclusion_entry e JOIN exclusion_list l ON l.source_id = ?1 AND l.number = e.list
          JOIN exclusion_row x ON x.list_id = l.id AND x.shard_id = e.shard_id AND x.revision = e.revision
            AND x.row = e.row
          LEFT JOIN exclusion_rule u ON u.id = l.rule_id
          WHERE e.source = ?5 AND e.is_in_force = 1 GROUP BY e.shard_id, e.revision, e.row
          """,
        arguments: [
          source.id, companion.id, column, JSONValue.array(values.map { .string($0.hex) }).text, source.name,
        ])
      var count = 0
      while let row = try rows.next() { if row["is_held"] as Int == 0 { count += 1 } }
      return count
    }
  }

  /// Refuses to let go of a source that rules are about.
  static func requireNoRules(_ source: Source, _ database: Database) throws {
    let rule = try Row.fetchOne(
      database,
      sql: """
        SELECT u.number, u.column_name, s.name FROM exclusion_rule u JOIN source s ON s.id = u.source_id
        WHERE u.companion_id = ?1 OR u.source_id = ?1 ORDER BY u.number LIMIT 1
        """, arguments: [source.id])
    guard let rule else { return }
    throw TarnError(
      .conflict,
      "\(source.name) is kept: rule \(rule["number"] as Int) of \(rule["name"] as String) is about the column "
        + "'\((rule["column_name"] as String).printable)', and rules are never removed",
      hint: "`tarn exclude \(rule["name"] as String) --match … --undo` ends what it does; the source may stay unused")
  }
}
