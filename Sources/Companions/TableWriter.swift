// Rows of companions written as a table that others read: a parquet file of texts.

internal import Base
internal import Parquet

/// Writes columns of rows, each value as text.
///
/// Takes the memory of a row group. Belongs to one thread.
package struct TableWriter: ~Copyable {
  private let table: TextTableWriter
  private let path: String
  private var file: DurableFile

  /// Creates the file under a working name.
  ///
  /// - Parameters:
  ///   - path: Its final name; `.tmp` is behind it until it is whole.
  ///   - columns: Their names, one at least.
  /// - Throws: ``Base/TarnError`` when the disk refuses.
  package init(creating path: String, columns: [String]) throws {
    table = TextTableWriter(columns: columns)
    self.path = path
    var file = try DurableFile(creating: path + ".tmp", mode: .streamed)
    try file.write(table.head.span.bytes)
    self.file = file
  }

  /// Adds a row.
  ///
  /// - Parameter values: Of each column.
  /// - Throws: ``Base/TarnError`` when the disk refuses.
  package mutating func add(_ values: [RowValue]) throws {
    try table.add(values.map(\.text)) { try file.write($0.span.bytes) }
  }

  /// Makes the file durable under its name.
  ///
  /// - Throws: ``Base/TarnError`` when the disk refuses.
  package consuming func finish() throws {
    try table.finish { try file.write($0.span.bytes) }
    try file.finishStreamed(as: path)
  }
}
