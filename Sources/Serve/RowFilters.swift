// Conditions on columns of companions (`where`), evaluated once for many queries: the rows of
// which one holds are kept, as many and as large as the bounds let.

internal import Base
package import Lake
internal import Synchronization

/// The rows of which a condition holds.
///
/// Queries with one and the same are searched together.
package final class RowFilter: Sendable {
  package let rows: RowSubset
  /// What the header `Tarn-Where` says of the answer: whether some shards had nothing to say, and whether something
  /// was compared with a value of another type.
  package let shortcomings: [String]
  /// What the condition could not be asked of, a line each.
  package let notes: [String]
  private let last = Mutex<(hidden: RowSubset, shown: RowSubset)?>(nil)

  package init(_ rows: RowSubset, shortcomings: [String] = [], notes: [String] = []) {
    self.rows = rows
    self.shortcomings = shortcomings
    self.notes = notes
  }

  /// The rows without some, which change seldom: the last answer is kept.
  ///
  /// - Parameter hidden: A set of rows that are left out; nil for none.
  /// - Returns: The rows of which the condition holds and that are not among them.
  package func rows(hiding hidden: RowSubset?) -> RowSubset {
    guard let hidden else { return rows }
    return last.withLock { last in
      if let last, last.hidden == hidden { return last.shown }
      var shown = rows
      for id in hidden.ids { shown.remove(id) }
      last = (hidden, shown)
      return shown
    }
  }
}

/// Filters that were made, the last used ones.
///
/// One of which some shard had nothing to say is not kept: what is lacking may come.
package final class RowFilters: Sendable {
  package struct Key: Hashable, Sendable {
    let version: VersionName
    let condition: WhereCondition
    /// Of other companions, or with other exclusions, other rows may meet it.
    let state: ServingFacts.Rows

    package init(version: VersionName, condition: WhereCondition, state: ServingFacts.Rows = ServingFacts.Rows()) {
      (self.version, self.condition, self.state) = (version, condition, state)
    }
  }

  private struct Kept {
    let filter: RowFilter
    let byteCount: Int
    var lastUse: Int
  }

  private struct State {
    var kept: [Key: Kept] = [:]
    var byteCount = 0
    var clock = 0
    var (hits, made) = (0, 0)
  }

  private let mostCount: Int
  private let mostByteCount: Int
  private let state = Mutex(State())

  /// - Parameters:
  ///   - mostCount: Filters that are kept.
  ///   - mostByteCount: Bytes of all of them.
  package init(mostCount: Int, mostByteCount: Int) {
    self.mostCount = mostCount
    self.mostByteCount = mostByteCount
  }

  /// How many are kept, of how many bytes, how often one was there, and how many were made.
  package var statistics: (count: Int, byteCount: Int, hits: Int, made: Int) {
    state.withLock { ($0.kept.count, $0.byteCount, $0.hits, $0.made) }
  }

  /// One that is kept.
  package func kept(_ key: Key) -> RowFilter? {
    state.withLock { state in
      guard let found = state.kept[key]?.filter else { return nil }
      state.clock += 1
      state.hits += 1
      state.kept[key]?.lastUse = state.clock
      return found
    }
  }

  /// Keeps one, and lets those go that were not used for longest where there is no room.
  ///
  /// One that is larger than all may be together is not kept.
  package func keep(_ filter: RowFilter, for key: Key) {
    let byteCount = filter.rows.byteCount + key.condition.text.utf8.count + 256
    state.withLock { state in
      state.made += 1
      guard byteCount <= mostByteCount, mostCount > 0 else { return }
      if let old = state.kept.removeValue(forKey: key) { state.byteCount -= old.byteCount }
      while state.kept.count >= mostCount || state.byteCount + byteCount > mostByteCount {
        guard let oldest = state.kept.min(by: { $0.value.lastUse < $1.value.lastUse }) else { break }
        state.kept.removeValue(forKey: oldest.key)
        state.byteCount -= oldest.value.byteCount
      }
      state.clock += 1
      state.kept[key] = Kept(filter: filter, byteCount: byteCount, lastUse: state.clock)
      state.byteCount += byteCount
    }
  }
}

extension ServedVersion {
  /// Refuses names of columns that are not shown.
  ///
  /// - Parameters:
  ///   - names: The names.
  ///   - asker: The member of the request that has them.
  /// - Throws: ``TarnError`` `.usage` naming those that are.
  func requireShown(_ names: [String], by asker: String) throws {
    let shown = columns?.names ?? []
    guard let name = names.first(where: { !shown.contains($0) }) else { return }
    throw TarnError(
      .usage, "\(asker) asks for the column '\(name.printable)', which is not shown of \(self.name)",
      hint: shown.isEmpty
        ? "no columns are shown here"
        : "shown are \(shown.prefix(40).map { ColumnList.text(of: $0).printable }.joined(separator: ", "))")
  }

  fileprivate func filterKey(_ condition: WhereCondition) -> RowFilters.Key {
    RowFilters.Key(version: name, condition: condition, state: state)
  }
}

extension RequestHandler {
  /// Reads the `where` of a request, and sees that it asks for columns that are shown here.
  ///
  /// What is not shown cannot be asked for, as answers would tell it.
  func condition(_ text: String?, of version: ServedVersion) throws -> WhereCondition? {
    guard let text else { return nil }
    let condition = try WhereCondition(parsing: text)
    try version.requireShown(condition.columns, by: "where")
    return condition
  }

  /// Goes on once it is known of which rows the condition holds, if there is one.
  func filtered(
    _ asked: Asked, of version: ServedVersion, done: @escaping Done,
    then: @escaping @Sendable (RequestHandler, Asked, @escaping Done) throws -> Void
  ) throws {
    guard let condition = asked.condition, asked.filter == nil else { return try then(self, asked, done) }
    @Sendable func go(_ handler: RequestHandler, _ filter: RowFilter) throws {
      var asked = asked
      asked.filter = filter
      let told: Done = { answer in
        var answer = answer
        if !filter.shortcomings.isEmpty {
          answer.headers["Tarn-Where"] = filter.shortcomings.joined(separator: ", ")
        }
        done(answer)
      }
      try then(handler, asked, told)
    }
    if let kept = filters.kept(version.filterKey(condition)) {
      return try go(self, kept)
    }
    begin(on: filtering, busy: "too many requests with a where wait", done) { handler in
      try go(handler, handler.filter(condition, of: version, asked))
    }
  }

  /// The rows of which a condition holds, from those that are kept or by looking at all; on the lane of filters.
  private func filter(_ condition: WhereCondition, of version: ServedVersion, _ asked: Asked) throws -> RowFilter {
    let key = version.filterKey(condition)
    // Somebody who asked the same may have waited before.
    if let kept = filters.kept(key) { return kept }
    guard let columns = version.columns else { preconditionFailure("a column that is shown") }
    let begin = ContinuousClock.now
    let limit = limits.filterTime
    let selection = try columns.rows(where: condition) {
      if asked.isGone() { throw TarnError.interrupted }
      guard ContinuousClock.now - begin < limit else {
        throw TarnError(
          .temporary, "the condition of where was not asked of all rows within \(Int(limit.seconds)) s",
          hint: "ask of fewer columns, or have the companions packed")
      }
    }
    let made = RowFilter(
      selection.rows,
      shortcomings: (selection.isWhole ? [] : ["lacking"]) + (selection.isOfTypes ? [] : ["unknown"]),
      notes: selection.notes)
    if selection.isWhole { filters.keep(made, for: key) }
    return made
  }
}
