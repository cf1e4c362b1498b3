// `exclude`: rows that must not be found, by their ids, put on a list of their source. What
// is built from then on has holes there; versions that are sealed stay what they are.

package import Base
package import Catalog
internal import Indexer

/// Puts rows of a source on a list of exclusions.
package struct ExcludeRun {
  /// What was put on a list.
  package struct Summary: Sendable {
    /// Nil where the lists said all of it before.
    package let list: ExclusionList?
    /// Rows that were named, each once.
    package let rowCount: Int
    /// Those of which the lists do not say it already.
    package let changedCount: Int
    /// Rows that may be found again by their list, and that a rule excludes.
    package let heldCount: Int
    /// Sealed versions that have some of the rows of an exclusion.
    package let versions: [VersionName]
    /// What the ids stand for in sealed versions, where that is another row than it is now.
    package var moved: [MovedRow] = []
    /// The ids that were named; none where rows are confirmed.
    package fileprivate(set) var ids: Set<Int64> = []
  }

  /// A row of a sealed version whose id is another row's by now.
  package struct MovedRow: Sendable {
    package let id: Int64
    package let version: VersionName
    package let shard: String
    package let row: Int
    /// The id that the row has now; nil where its bytes are not the shard's any more.
    package let newID: Int64?
  }

  let catalog: LakeCatalog
  let source: Source
  let reason: String
  let cancellation: Cancellation

  /// Prepares to exclude.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - source: Name of the source.
  ///   - reason: Why, for people.
  ///   - cancellation: Asked between pieces of the list.
  /// - Throws: ``TarnError`` `.notFound`.
  package init(_ catalog: LakeCatalog, of source: String, reason: String, cancellation: Cancellation) throws {
    self.catalog = catalog
    self.source = try catalog.features(named: source, to: "have rows taken out")
    try self.source.requireFeatures()
    self.reason = reason
    self.cancellation = cancellation
  }

  /// Puts rows on a list by their ids.
  ///
  /// - Parameters:
  ///   - input: Row ids of the source.
  ///   - kind: Whether they go, or may come back.
  ///   - isDry: Whether nothing is written.
  /// - Returns: What was put on it.
  /// - Throws: ``TarnError`` `.usage` for what is no row id; `.conflict` for a row of a shard
  ///   whose bytes were never seen. Then nothing has changed.
  package func run(_ input: RowIDInput, _ kind: ExclusionKind, dry isDry: Bool) throws -> Summary {
    cancellation.listen()
    let (shards, starts, end) = try shardsWithIDs()
    var ids: Set<Int64> = []
    try RowIDFile(input, below: end, of: source.name).read(checkpoint: { try cancellation.check() }) { ids.insert($0) }
    guard !ids.isEmpty else {
      throw TarnError(.usage, "no row id was given", hint: "one a line, or a .npy of int64")
    }
    let sorted = ids.sorted()
    let moved = try moved(sorted, shards, starts)
    var rows: [Int: [Int]] = [:]
    var place = 0
    for id in sorted {
      while place + 1 < starts.count, starts[place + 1] <= id { place += 1 }
      rows[place, default: []].append(Int(id - starts[place]))
    }
    let inForce = kind == .readmit ? try catalog.exclusions(of: source, by: .named) : [:]
    var summary = try add(
      kind, dry: isDry,
      rows.sorted { $0.key < $1.key }.flatMap { place, rows throws -> [ShardRows] in
        if kind == .readmit {
          // Whatever bytes they were excluded of: a row that may be found again is not held back by those before.
          let named = Set(rows)
          return try catalog.revisions(of: shards[place], inForce[shards[place].id] ?? [:]).map {
            ShardRows(revision: $0.revision, rows: $0.rows.filter(named.contains))
          }
        }
        guard let revision = shards[place].revision else {
          throw TarnError(
            .conflict,
            "nobody has seen the bytes of \(shards[place].name) here, so that nothing says which row \(rows[0]) of it is",
            hint: "`tarn sync \(source.name) --shards \(shards[place].ordinal)` fetches them")
        }
        return [ShardRows(revision: revision, rows: rows)]
      })
    summary.moved = moved
    summary.ids = ids
    return summary
  }

  /// What ids stand for in sealed versions, where that is another row than it is now, as a shard before it has another
  /// number of rows since; of each id the newest such version's.
  private func moved(_ ids: [Int64], _ shards: [Shard], _ starts: [Int64]) throws -> [MovedRow] {
    let places = Dictionary(
      zip(shards, starts).map { ($0.id, (shard: $0, start: $1)) }, uniquingKeysWith: { first, _ in first })
    var found: [Int64: MovedRow] = [:]
    for version in try catalog.versions().sorted(by: { $0.id < $1.id })
    where version.state == .sealed && version.sourceID == source.id {
      var next = 0
      for input in try catalog.inputs(of: version) where !input.isHole {
        guard let now = places[input.shardID], now.start != input.firstID else { continue }
        let isSame = now.shard.revision?.digest == input.revision?.digest
        let end = input.firstID + Int64(input.rowCount)
        while next < ids.count, ids[next] < input.firstID { next += 1 }
        while next < ids.count, ids[next] < end {
          let row = ids[next] - input.firstID
          found[ids[next]] = MovedRow(
            id: ids[next], version: version.name, shard: input.shardName, row: Int(row),
            newID: isSame ? now.start + row : nil)
          next += 1
        }
      }
    }
    return found.values.sorted { $0.id < $1.id }
  }

  /// The shards up to the first whose number of rows nobody knows, the first id of each, and the id behind the last.
  func shardsWithIDs() throws -> (shards: [Shard], starts: [Int64], end: Int64) {
    var starts: [Int64] = []
    var end: Int64 = 0
    let shards = try catalog.shards(of: source).prefix { shard in
      guard let count = try? shard.plannedRowCount(in: source, for: "ids") else { return false }
      starts.append(end)
      end += Int64(count)
      return true
    }
    return (Array(shards), starts, end)
  }

  /// Excludes, of the bytes that shards have now, the rows in the places of those that were
  /// excluded of other bytes; what rules found of those is theirs to say.
  ///
  /// - Parameter isDry: Whether nothing is written.
  /// - Returns: What was put on a list.
  /// - Throws: ``TarnError`` `.conflict` for a row that the new bytes do not have.
  package func confirm(dry isDry: Bool) throws -> Summary {
    cancellation.listen()
    let inForce = try catalog.exclusions(of: source, by: .named)
    return try add(
      .exclude, dry: isDry,
      catalog.shards(of: source).compactMap { shard in
        guard let revision = shard.revision, let of = inForce[shard.id], of[revision.digest] == nil else { return nil }
        let rows = Set(of.values.joined()).sorted()
        if let row = rows.last, row >= revision.rowCount {
          throw TarnError(
            .conflict, "\(shard.name) has \(revision.rowCount) rows now, and row \(row) is excluded",
            hint: "exclude what must go by its ids, and `--undo` the old ones")
        }
        return ShardRows(revision: revision, rows: rows)
      })
  }

  private func add(_ kind: ExclusionKind, dry isDry: Bool, _ rows: [ShardRows]) throws -> Summary {
    let changes = try catalog.changes(kind, rows, of: source)
    let list = isDry ? nil : try catalog.addExclusions(kind, rows, of: source, reason: reason)
    var heldCount = 0
    if kind == .readmit {
      let byRules = try catalog.exclusions(of: source, by: .rules)
      heldCount = changes.reduce(0) { sum, of in
        sum + Set(byRules[of.revision.shardID]?[of.revision.digest] ?? []).intersection(of.rows).count
      }
    }
    return Summary(
      list: list, rowCount: rows.reduce(0) { $0 + $1.rows.count },
      changedCount: changes.reduce(0) { $0 + $1.rows.count }, heldCount: heldCount,
      versions: try kind == .readmit ? [] : versions(having: rows))
  }

  /// The sealed versions that have some of these rows.
  func versions(having rows: [ShardRows]) throws -> [VersionName] {
    let named = Dictionary(rows.map { ($0.revision, $0.rows) }, uniquingKeysWith: { first, _ in first })
    return try catalog.versions().filter { version in
      // Of an adopted version nobody knows which bytes its rows are of: it may have them.
      if version.state == .sealed, version.rowsOf == source.name { return !named.isEmpty }
      guard version.state == .sealed, version.sourceID == source.id else { return false }
      let ids = try catalog.inputs(of: version).flatMap { input -> [RowID] in
        guard let rows = input.revision.flatMap({ named[$0] }) else { return [] }
        return Set(rows).subtracting(input.excludedRows).map { input.firstID + Int64($0) }
      }
      return try !ids.isEmpty && (version.badRowsPolicy == .fail || holds(version, ids))
    }.map(\.name)
  }

  /// Whether a version's files have a row of some, which it was not made without: those that are no numbers were left out.
  private func holds(_ version: IndexVersion, _ ids: [RowID]) throws -> Bool {
    try catalog.outputs(of: version).filter { ids.contains(where: $0.ids.contains) }.contains { output in
      let path = try catalog.path(of: .outputShard, output.digest)
      do {
        return try VersionSearcher(outputShards: [path]).vectors(ofRows: ids).contains { $0 != nil }
      } catch let error as TarnError where error.code != .interrupted {
        // Of a file that is not here, or cannot be read, nobody knows better; the list is made, and others are asked.
        return true
      }
    }
  }
}
