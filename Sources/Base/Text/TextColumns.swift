// Cells of text under each other: the one place that lays columns out.

/// How wide the columns of a table are, and to which side of them cells lie.
package struct TextColumns: Sendable {
  /// Columns of a terminal that each takes.
  package let widths: [Int]
  private let isRightward: [Bool]

  /// Looks how wide columns have to be.
  ///
  /// - Parameters:
  ///   - rows: Cells of each row, as they are shown.
  ///   - isRightward: Whether the cells of a column end under each other, as numbers do.
  package init(_ rows: [[String]], rightward isRightward: (Int) -> Bool) {
    let places = (rows.first ?? []).indices
    widths = places.map { column in rows.lazy.map { $0[column].columnCount }.max() ?? 0 }
    self.isRightward = places.map(isRightward)
  }

  /// A row as a line; a cell that is wider than its column takes the room it needs.
  ///
  /// - Parameters:
  ///   - cells: The row's cells.
  ///   - columns: Which of them; nil for all.
  /// - Returns: The line, without blanks at its end.
  package func line(_ cells: [String], columns: [Int]? = nil) -> String {
    let parts = (columns ?? Array(widths.indices)).map { column in
      let padding = String(repeating: " ", count: max(0, widths[column] - cells[column].columnCount))
      return isRightward[column] ? padding + cells[column] : cells[column] + padding
    }
    var line = parts.joined(separator: "  ")
    while line.last == " " { line.removeLast() }
    return line
  }
}
