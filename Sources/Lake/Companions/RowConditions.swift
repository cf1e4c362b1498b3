// `--where`: the rows of a version of which companions say that a condition holds.
//
// Every row of every shard is looked at, one block at a time; what is kept is a bit for each
// row that may be found.

internal import Base
package import Catalog
internal import Companions
package import Indexer

/// A condition on columns of companions, as somebody wrote it.
package struct WhereCondition: Sendable, Hashable {
  fileprivate let condition: RowCondition
  /// As it was written.
  package let written: String

  /// Reads a condition.
  ///
  /// - Parameter text: docs/COMPANIONS.md has the grammar.
  /// - Throws: ``TarnError`` `.usage` that names the character where it is wrong.
  package init(parsing text: String) throws {
    condition = try RowCondition(parsing: text)
    written = text
  }

  /// The columns that it asks for, by name.
  package var columns: [String] { condition.columns }

  /// One text of it, which reads as the same condition.
  package var text: String { condition.text }

  /// Of conditions that are written in two ways, whether they are one.
  package static func == (left: WhereCondition, right: WhereCondition) -> Bool { left.condition == right.condition }
  package func hash(into hasher: inout Hasher) { hasher.combine(condition) }
}

/// The rows of which a condition holds.
package struct RowSelection: Sendable {
  package let rows: RowSubset
  /// What was not there to be looked at, and what could not be compared; a line each.
  package let notes: [String]
  /// Whether every shard had what the condition asks for.
  package let isWhole: Bool
  /// Whether every comparison was between values of one type.
  package let isOfTypes: Bool
}

extension RowColumns {
  /// The rows of its version of which a condition holds.
  ///
  /// - Parameters:
  ///   - condition: The condition.
  ///   - checkpoint: As for ``rows(of:in:where:among:checkpoint:)``.
  /// - Returns: The rows, and what was lacking.
  /// - Throws: ``TarnError`` as that does.
  package func rows(where condition: WhereCondition, checkpoint: () throws -> Void) throws -> RowSelection {
    try Self.rows(of: version, in: catalog, where: condition, checkpoint: checkpoint)
  }

  /// The rows of which a condition holds.
  ///
  /// What a version is made without is in no list, and not looked at. A row of which a
  /// companion says nothing has nulls there (docs/COMPANIONS.md, invariant 5).
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - catalog: A lake; reading is enough.
  ///   - condition: The condition.
  ///   - given: The rows that are asked about; nil for all.
  ///   - checkpoint: Called between thousands of rows, or fewer that are long; an error of it ends the work.
  /// - Returns: The rows, and what was lacking.
  /// - Throws: ``TarnError`` `.usage` for a column that no companion has, naming those there are, and for one that is not
  ///   read; `.integrity` for a damaged pack.
  package static func rows(
    of version: IndexVersion, in catalog: LakeCatalog, where condition: WhereCondition, among given: RowSubset? = nil,
    checkpoint: () throws -> Void
  ) throws -> RowSelection {
    let columns = try RowColumns(catalog, version, names: condition.columns)
    var predicate = RowPredicate(condition.condition)
    let plan = try columns.plan(checkpoint)
    var rows = RowSubset()
    for shard in plan.shards {
      try checkpoint()
      var scans = try RowScans(shard, of: columns)
      // Where no row is known, all are as one.
      let isAllOrNone = shard.parts.isEmpty
      if isAllOrNone, predicate.holds(scans.values) != true { continue }
      var work = 0
      for row in 0..<shard.rowCount {
        if work >= 4096 {
          try checkpoint()
          work = 0
        }
        try scans.next()
        // A KiB of text may take as long as a row.
        work += scans.values.reduce(1) { $0 + $1.byteCount >> 10 }
        let id = shard.firstID + Int64(row)
        guard scans.isOfVersion, isAllOrNone || predicate.holds(scans.values) == true, given?.allows(id) ?? true else {
          continue
        }
        rows.insert(id)
      }
    }
    return RowSelection(
      rows: rows, notes: plan.notes + predicate.mismatchTexts, isWhole: plan.isWhole,
      isOfTypes: predicate.mismatchTexts.isEmpty)
  }
}
