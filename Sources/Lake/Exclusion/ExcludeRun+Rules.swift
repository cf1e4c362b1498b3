// `exclude --match`: a rule over a companion's column, held at once against what is here, and
// at each plan against what came since.

package import Base
package import Catalog

extension ExcludeRun {
  /// A row that a rule finds.
  package struct FoundRow: Sendable {
    /// Its id in the source; nil where nobody knows how many rows a shard before its own has.
    package let id: Int64?
    package let shard: String
    package let row: Int
  }

  /// What became of a rule.
  package struct RuleSummary: Sendable {
    /// Nil where the rules said all of it before, and where nothing was to be done.
    package let rule: AddedRule?
    /// The companion whose column is looked at.
    package let companion: String
    package let column: String
    /// Values of the file, each once.
    package let valueCount: Int
    /// Those of which the rules do not say it already.
    package let changedCount: Int
    /// Those that are in no row of what was looked at; of such as are taken back, those that no rule
    /// has.
    package let unmatchedCount: Int
    /// Their texts, in the order of the file.
    package let unmatched: [String]
    package let blankCount: Int
    package let duplicateCount: Int
    package let spacedCount: Int
    /// Rows that the values are found at and that nothing excluded before; of one that is taken
    /// back, those that nothing excludes then.
    package let rowCount: Int
    /// Those rows, of a rule that is only tried; of one that is taken back none are named.
    package let rows: [FoundRow]
    /// Shards that were looked at, now or before.
    package let scannedCount: Int
    /// Shards that could not be looked at yet, and why the first could not.
    package let lackingCount: Int
    package let lack: String?
    /// Sealed versions that have some of the rows.
    package let versions: [VersionName]
  }

  /// Makes a rule, or takes values of rules back, and looks at what is here.
  ///
  /// - Parameters:
  ///   - name: The column: `COLUMN`, or `COMPANION.COLUMN`.
  ///   - input: Its values.
  ///   - kind: Whether rows that have one go, or may come back.
  ///   - isDry: Whether nothing is written.
  /// - Returns: What was found.
  /// - Throws: ``TarnError`` `.usage` for a column that no companion has or more than one, for
  ///   what is no list of values; of companions that are damaged.
  package func match(
    _ name: String, values input: RowIDInput, _ kind: ExclusionKind, dry isDry: Bool
  ) throws -> RuleSummary {
    cancellation.listen()
    let file = try ValueFile(input) { try cancellation.check() }
    let (companion, column) = try column(named: name)
    let changed = try catalog.changes(kind, file.digests, of: companion, column: column, in: source)
    let before = try catalog.exclusions(of: source)
    var rowCount =
      try kind == .exclude ? 0 : catalog.rows(found: changed, in: source, companion: companion, column: column)
    let rule =
      isDry ? nil : try catalog.addRule(kind, file.digests, of: companion, column: column, in: source, reason: reason)
    var (lackingCount, scannedCount, found, lack): (Int, Int, [ShardRows], String?) = (0, 0, [], nil)
    var unmatched = file.digests.subtracting(changed)
    if kind == .exclude {
      // Those that were there before are held against what they have not seen, too.
      var rules = try catalog.exclusionRules(of: source)
      if isDry, !changed.isEmpty {
        rules = [
          ExclusionRule(
            id: 0, number: 0, companionID: companion.id, companion: companion.name, column: column, reason: reason,
            madeAt: Timestamp.now(), values: Set(changed))
        ]
      } else {
        rules = rules.filter { $0.companionID == companion.id && $0.column == column }
      }
      let shards = try catalog.shards(of: source).filter { !$0.isDropped }
      let outcome = try RuleEvaluation(catalog, source, cancellation: cancellation).run(
        rules, of: shards, unseen: false)
      unmatched = file.digests.subtracting(
        try catalog.valuesFound(of: companion, column: column, in: source))
      for scan in outcome.scans { unmatched.subtract(scan.matches.lazy.map(\.value)) }
      if !isDry { try catalog.add(outcome.scans, of: source) }
      lackingCount = outcome.lackingCount + shards.count { $0.revision == nil }
      scannedCount = max(0, shards.count - lackingCount)
      lack =
        outcome.lack.map { $0.message + (outcome.way.map { "; \($0)" } ?? "") }
        ?? (lackingCount == 0 ? nil : "nobody has seen the bytes of some")
      found = Dictionary(grouping: outcome.scans, by: \.revision).map { revision, scans in
        let known = Set(before[revision.shardID]?[revision.digest] ?? [])
        return ShardRows(
          revision: revision, rows: Set(scans.flatMap { $0.matches.map(\.row) }).subtracting(known).sorted())
      }
    }
    if kind == .exclude { rowCount = found.reduce(0) { $0 + $1.rows.count } }
    return RuleSummary(
      rule: rule, companion: companion.name, column: column, valueCount: file.digests.count,
      changedCount: changed.count, unmatchedCount: unmatched.count,
      unmatched: try file.texts(of: unmatched) { try cancellation.check() },
      blankCount: file.blankCount, duplicateCount: file.duplicateCount, spacedCount: file.spacedCount,
      rowCount: rowCount, rows: isDry ? try named(found) : [], scannedCount: scannedCount, lackingCount: lackingCount,
      lack: lack,
      versions: try kind == .exclude ? versions(having: found) : [])
  }

  /// Rows by the names that users have for them.
  private func named(_ found: [ShardRows]) throws -> [FoundRow] {
    let (shards, starts, _) = try shardsWithIDs()
    let firsts = Dictionary(zip(shards.map(\.id), starts)) { first, _ in first }
    let rows = Dictionary(found.map { ($0.revision.shardID, $0.rows) }) { $0 + $1 }
    return try catalog.shards(of: source).flatMap { shard in
      (rows[shard.id] ?? []).map { row in
        FoundRow(id: firsts[shard.id].map { $0 + Int64(row) }, shard: shard.name, row: row)
      }
    }
  }

  /// The companion that has a column, and the column's name there.
  private func column(named name: String) throws -> (companion: Source, column: String) {
    let companions = try catalog.companions(of: source)
    guard !companions.isEmpty else {
      throw TarnError(
        .usage, "\(source.name) has no companion, so nothing is known of its rows",
        hint: "`tarn source add NAME --companion-of \(source.name) --url …` registers one")
    }
    // Names of companions have dots, too; of two that the word begins with the longer is meant.
    let named = companions.filter { name.hasPrefix($0.name + ".") }.max { $0.name.count < $1.name.count }
    if let named {
      let column = String(name.dropFirst(named.name.count + 1))
      let known = try columns(of: named, to: column)
      guard !column.isEmpty, known?.contains(column) != false else { throw unknown(name, known ?? []) }
      return (named, column)
    }
    var known: [String] = []
    var having: [Source] = []
    var unseen: [Source] = []
    var fault: TarnError?
    for companion in companions {
      var found: [String]?
      do { found = try columns(of: companion, to: name) } catch let error as TarnError where error.isOfBytes {
        fault = fault ?? error
      }
      guard let columns = found else {
        unseen.append(companion)
        continue
      }
      known += columns
      if columns.contains(name) { having.append(companion) }
    }
    let open = having + unseen
    guard let only = open.first, !name.isEmpty, !(having.isEmpty && unseen.count < companions.count) else {
      throw (name.isEmpty ? nil : fault) ?? unknown(name, known)
    }
    if having.isEmpty, open.count == 1, let fault { throw fault }
    guard open.count == 1 else {
      throw TarnError(
        .usage, "\(open.map(\.name).joined(separator: " and ")) may each have the column '\(name.printable)'",
        hint: "say which: `--match \(only.name).\(name.printable)`")
    }
    return (only, name)
  }

  private func unknown(_ name: String, _ known: [String]) -> TarnError {
    TarnError(
      .usage, "no companion of \(source.name) is known to have the column '\(name.printable)'",
      hint: known.isEmpty
        ? "say COMPANION.COLUMN"
        : "there are \(Set(known).sorted().prefix(40).map(\.printable).joined(separator: ", "))")
  }

  /// The columns of a companion's shards that are here, up to the first that has the one that is meant: of JSON lines each
  /// has the members of its own rows, and tables gain columns; nil where none is here.
  private func columns(of companion: Source, to column: String) throws -> [String]? {
    var known: Set<String>?
    for shard in try catalog.shards(of: companion) {
      try cancellation.check()
      let found = try catalog.columns(
        ofCompanionShard: shard, until: [column], checkpoint: { try cancellation.check() })
      guard let own = found else { continue }
      known = (known ?? []).union(own)
      if own.contains(column) { break }
    }
    return known.map { $0.sorted() }
  }
}
