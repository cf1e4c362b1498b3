// Rows of shards that a version leaves out, as its columns and documents have them.

package import Base

/// Rows of inputs that a version does not have.
package enum ExcludedRows {
  /// What stands for them in a specification: the SHA-256 of a line for each, `DIGEST ROW`.
  ///
  /// - Parameter inputs: Digest of each input's bytes and its rows, ascending, in the order of
  ///   the version.
  /// - Returns: Nil when there are none.
  package static func digest(_ inputs: [(digest: ContentDigest?, rows: [Int])]) -> ContentDigest? {
    guard inputs.contains(where: { !$0.rows.isEmpty }) else { return nil }
    var text = ""
    for (digest, rows) in inputs { for row in rows { text += "\(digest?.hex ?? "-") \(row)\n" } }
    return .of(text)
  }

  /// The column's text; nil for none.
  static func text(_ rows: [Int]) -> String? {
    rows.isEmpty ? nil : JSONValue.counts(rows).text
  }

  /// What the column says.
  static func parse(_ text: String?, _ column: String = "excluded_rows") throws -> [Int] {
    guard let text else { return [] }
    let rows = JSONValue(parsing: text)?.elements.compactMap(\.count) ?? []
    guard !rows.isEmpty, zip(rows, rows.dropFirst()).allSatisfy({ $0 < $1 }), rows[0] >= 0 else {
      throw TarnError(.database, "column \(column) holds what are no ascending rows")
    }
    return rows
  }
}

extension VersionExport.Input {
  /// The row ids that the version may have of it, ascending and disjoint.
  package var ids: [Range<Int64>] {
    (firstId..<(firstId + Int64(rows))).without((excluded ?? []).map { firstId + Int64($0) })
  }
}

extension [Int] {
  /// Whether a number is among ascending ones.
  func containsAscending(_ number: Int) -> Bool {
    let place = partitioningIndex { $0 >= number }
    return place < count && self[place] == number
  }
}
