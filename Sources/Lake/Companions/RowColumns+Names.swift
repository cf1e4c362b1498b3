// Which columns companions have, and the refusal of names that none has.

internal import Base
internal import Catalog
internal import Companions

extension RowColumns {
  /// The columns of a companion, as its packs and files that are here have them.
  private struct Available {
    let companion: String
    /// Nil where none of its shards is here.
    var columns: [String]?
    var leftOut: [LeftOutColumn] = []
    /// Why those of a shard cannot be told that is here.
    var fault: TarnError?

    /// Whether it has a column, read or not; nil where that cannot be told.
    func has(_ name: String) -> Bool? {
      guard let columns else { return nil }
      return columns.contains(name) || leftOut.contains { $0.isMeant(by: name) }
    }

    /// Adds what one of its shards has.
    mutating func add(_ more: [String], _ others: [LeftOutColumn]) {
      let (own, left) = (columns ?? [], leftOut)
      let known = Set(own)
      columns = own + more.filter { !known.contains($0) }
      leftOut = left + others.filter { !left.contains($0) }
    }
  }

  /// The columns of each companion.
  ///
  /// Shards may differ: of JSON lines each has the members of its own rows, and tables gain columns. Behind a companion's
  /// first one they are looked at as long as a name that was asked for is in none.
  ///
  /// - Parameters:
  ///   - isAll: Whether all shards are looked at, but for files of JSON lines behind the first, which would be read from
  ///     the start to the end.
  ///   - checkpoint: Called between shards, and between rows of files; an error of it ends the looking.
  /// - Returns: One for each companion, by name.
  /// - Throws: ``TarnError`` of the catalog.
  private func available(all isAll: Bool = false, _ checkpoint: () throws -> Void) throws -> [Available] {
    let counted = try CountedRows(catalog, version)
    let companions = try catalog.companions(of: counted.owner).map(\.name)
    var found: [String: Available] = [:]
    var open = Set(names)
    func look(at bound: BoundCompanion, for meant: Set<String>, ofFirst most: Int = .max) throws {
      try checkpoint()
      let isFirst = found[bound.source] == nil
      var one = found[bound.source] ?? Available(companion: bound.source)
      do {
        switch try opened(bound) {
        case .pack(let pack, _): one.add(pack.columns, pack.leftOut)
        case .file(let file):
          if isAll, !isFirst, file.format.table == .jsonl { return }
          let wanted = Set(meant.compactMap { column($0, of: bound.source) })
          let columns = try file.columns(until: wanted, ofFirst: most, checkpoint: checkpoint)
          one.add(columns, file.leftOut())
        case .none: return
        }
      } catch let error as TarnError where error.isOfBytes {
        one.fault = one.fault ?? error
      }
      found[bound.source] = one
      open.subtract(meant.filter { name in column(name, of: bound.source).map { one.has($0) == true } ?? false })
    }
    var others: [BoundCompanion] = []
    for bound in try counted.bound() {
      let meant = open.filter { name in
        name.hasPrefix(bound.source + ".") || !companions.contains { name.hasPrefix($0 + ".") }
      }
      if isAll || !meant.isEmpty {
        try look(at: bound, for: meant)
      } else if found[bound.source] == nil {
        others.append(bound)
      }
    }
    // One that names a companion of which nothing is here is no other's.
    let isOpen = open.contains { name in
      !companions.contains { name.hasPrefix($0 + ".") && found[$0]?.columns == nil }
    }
    for bound in others where isOpen && found[bound.source] == nil {
      // It is asked for nothing: its first rows are enough for telling what there is.
      try look(at: bound, for: [], ofFirst: 4096)
    }
    return companions.map { found[$0] ?? Available(companion: $0) }
  }

  /// The columns that can be shown, by name, as the packs and files at hand have them.
  ///
  /// - Parameter checkpoint: Called between shards, and between rows of files; an error of it ends the looking.
  /// - Returns: Their names.
  /// - Throws: ``TarnError``.
  package func availableNames(checkpoint: () throws -> Void) throws -> [String] {
    Set(try available(all: true, checkpoint).flatMap { $0.columns ?? [] }).sorted()
  }

  /// Refuses names of columns that no companion has.
  ///
  /// A name that may be a column of a companion that is not here is let pass, but for one with a dot before which no
  /// companion stands: of such a one it is asked for as `COMPANION.NAME`. One that may be a column of a companion that
  /// cannot be read is refused.
  ///
  /// - Parameter checkpoint: Called between shards, and between rows of files: a name that nobody has is looked for in
  ///   all of them. An error of it ends the looking.
  /// - Throws: ``TarnError`` `.usage` naming those there are, and for one that is not read; of companions that cannot be
  ///   read.
  package func requireNames(checkpoint: () throws -> Void) throws {
    let available = try available(checkpoint)
    let companions = available.map(\.companion)
    for name in names {
      let asked = available.compactMap { of in column(name, of: of.companion).map { (of, $0) } }
      if asked.contains(where: { $0.0.has($0.1) == true }) {
        let isRead = asked.contains { of, column in of.columns?.contains(column) ?? false }
        let left = asked.lazy.compactMap { of, column in
          of.leftOut.first { $0.isMeant(by: column) }.map { (companion: of.companion, column: $0) }
        }.first
        guard !isRead, let left else { continue }
        throw Self.unread(name, left.column, of: left.companion)
      }
      let isAnyones = companions.allSatisfy { column(name, of: $0) == name }
      if let fault = asked.lazy.compactMap({ of, column in isAnyones || column != name ? of.fault : nil }).first {
        throw fault
      }
      let ofOne = asked.filter { $0.1 != name }
      if (name.contains(".") ? ofOne : asked).contains(where: { $0.0.columns == nil }) { continue }
      let known = Set(available.flatMap { $0.columns ?? [] }).sorted()
      let absent = available.filter { $0.columns == nil }.map(\.companion)
      throw TarnError(
        .usage, "no companion of \(version.name) has the column '\(name.printable)'",
        hint: "there are \(known.map { ColumnList.text(of: $0).printable }.listed(40))"
          + (absent.first.map { "; one of \($0), which is not here, is \($0).NAME" } ?? ""))
    }
  }
}
