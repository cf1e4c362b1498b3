// `locate --match`: from values of a companion's column to the ids of the rows that have them, as `exclude --match` finds
// them: byte by byte, in the bytes that the version is made of.

package import Base
internal import Catalog
internal import Companions

/// Rows that have one of some values.
package struct MatchedRows: Sendable {
  /// In the order of the version's ids.
  package let ids: [Int64]
  /// Values that were asked for, each once.
  package let valueCount: Int
  /// Those that are in no row that was looked at, in the order of the file.
  package let unmatched: [String]
  /// What was not here to be looked at; a line each.
  package let notes: [String]
}

extension LocateRun {
  /// Finds the rows of a version that have one of some values in a column of a companion.
  ///
  /// Every row of every shard is looked at. Of a row that is excluded nothing is known.
  ///
  /// - Parameters:
  ///   - column: `COLUMN`, or `COMPANION.COLUMN`.
  ///   - input: The values, one a line.
  ///   - name: The version.
  /// - Returns: The rows.
  /// - Throws: ``TarnError`` `.usage` for a column that no companion has, and for what is no list of values;
  ///   `.inputsMissing` where no row was found and not all could be looked at; `.integrity` for a damaged pack.
  package func ids(
    matching column: String, values input: RowIDInput, of name: VersionName
  ) throws -> MatchedRows {
    cancellation.listen()
    let file = try ValueFile(input) { try cancellation.check() }
    let columns = try RowColumns(catalog, catalog.version(name), names: [column])
    let plan = try columns.plan { try cancellation.check() }
    var ids: [Int64] = []
    var left = file.digests
    for shard in plan.shards where !shard.parts.isEmpty {
      var scans = try RowScans(shard, of: columns)
      for row in 0..<shard.rowCount {
        if row.isMultiple(of: 4096) { try cancellation.check() }
        try scans.next()
        guard let text = scans.values[0].matchedText else { continue }
        let digest = ContentDigest.of(Array(text))
        guard file.digests.contains(digest) else { continue }
        left.remove(digest)
        ids.append(shard.firstID + Int64(row))
      }
    }
    if ids.isEmpty, !plan.isWhole, let note = plan.notes.first {
      throw TarnError(.inputsMissing, "no row with these values is known: \(note)")
    }
    return MatchedRows(
      ids: ids, valueCount: file.digests.count, unmatched: try file.texts(of: left) { try cancellation.check() },
      notes: plan.notes)
  }
}
