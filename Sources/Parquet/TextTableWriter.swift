// Columns of texts, each of which a row may lack, written as pyarrow, pandas and duckdb read them.
// Nothing is packed.
// Format: https://github.com/apache/parquet-format

internal import Base

/// Writes a file of flat columns of text, row group by row group.
///
/// Takes the memory of a row group. Belongs to one thread.
package final class TextTableWriter {
  private struct Chunk {
    let offset: Int
    let byteCount: Int
  }

  private struct RowGroup {
    let rowCount: Int
    let chunks: [Chunk]
  }

  /// A column of the row group that is being filled.
  private struct Pending {
    /// Lengths and bytes of the texts that are there.
    var values: [UInt8] = []
    /// Whether each row has one, as runs.
    var runs: [(isThere: Bool, count: Int)] = []

    mutating func add(_ isThere: Bool) {
      if runs.last?.isThere == isThere {
        runs[runs.count - 1].count += 1
      } else {
        runs.append((isThere, 1))
      }
    }
  }

  private let columns: [String]
  private var pending: [Pending]
  private var pendingRowCount = 0
  private var pendingByteCount = 0
  private var groups: [RowGroup] = []
  private var offset = 4

  private static let magic = Array("PAR1".utf8)
  /// Bytes and rows after which a row group ends.
  private static let (groupByteCount, groupRowCount) = (8 << 20, 1 << 16)
  /// The most bytes of a column's page, which has its length in 32 bits.
  private static let mostPageByteCount = 1 << 30

  /// Prepares a file.
  ///
  /// - Parameter columns: Their names, one at least.
  package init(columns: [String]) {
    precondition(!columns.isEmpty, "a table has columns")
    self.columns = columns
    pending = columns.map { _ in Pending() }
  }

  /// What stands before the first row.
  package var head: [UInt8] { Self.magic }

  /// Adds a row.
  ///
  /// - Parameters:
  ///   - row: Of each column the text in UTF-8; nil where there is none.
  ///   - write: Gets bytes of the file, in order.
  /// - Throws: Whatever `write` does; ``TarnError`` `.usage` for a text that no page holds.
  package func add(_ row: [ArraySlice<UInt8>?], _ write: ([UInt8]) throws -> Void) throws {
    precondition(row.count == columns.count, "a row has one value a column")
    for (place, text) in row.enumerated() {
      pending[place].add(text != nil)
      guard let text else { continue }
      guard text.count <= Self.mostPageByteCount else {
        throw TarnError(.usage, "a value of column '\(columns[place].printable)' has \(text.count) bytes")
      }
      pending[place].values += Self.number(text.count) + text
      pendingByteCount += text.count + 4
    }
    pendingRowCount += 1
    if pendingByteCount >= Self.groupByteCount || pendingRowCount == Self.groupRowCount { try group(write) }
  }

  /// Writes what is left and the footer.
  ///
  /// - Parameter write: Gets the bytes.
  /// - Throws: Whatever `write` does.
  package func finish(_ write: ([UInt8]) throws -> Void) throws {
    if pendingRowCount > 0 { try group(write) }
    let footer = footer()
    try write(footer + Self.number(footer.count) + Self.magic)
  }

  private func group(_ write: ([UInt8]) throws -> Void) throws {
    var chunks: [Chunk] = []
    for column in pending {
      // Levels in runs: a count, shifted, and one byte with the level.
      var levels: [UInt8] = []
      for run in column.runs { levels += ThriftWriter.unsigned(UInt64(run.count) << 1) + [run.isThere ? 1 : 0] }
      let body = Self.number(levels.count) + levels
      let byteCount = body.count + column.values.count
      let head = ThriftWriter.pageHeader(byteCount: byteCount, valueCount: pendingRowCount)
      try write(head + body)
      try write(column.values)
      chunks.append(Chunk(offset: offset, byteCount: head.count + byteCount))
      offset += head.count + byteCount
    }
    groups.append(RowGroup(rowCount: pendingRowCount, chunks: chunks))
    pending = columns.map { _ in Pending() }
    (pendingRowCount, pendingByteCount) = (0, 0)
  }

  private static func number(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

  private func footer() -> [UInt8] {
    var footer = ThriftWriter()
    footer.integer(1, 2, .int32)
    footer.structures(2, columns.count + 1) { place, element in
      guard place > 0 else {
        element.text(4, "schema")
        element.integer(5, columns.count, .int32)
        return
      }
      element.integer(1, PhysicalType.byteArray.rawValue, .int32)
      element.integer(3, 1, .int32)
      element.text(4, columns[place - 1])
      // UTF8, in the old way and in the new.
      element.integer(6, 0, .int32)
      element.structure(10) { $0.structure(1) { _ in } }
    }
    footer.integer(3, groups.reduce(0) { $0 + $1.rowCount }, .int64)
    footer.structures(4, groups.count) { place, group in
      let own = groups[place]
      let byteCount = own.chunks.reduce(0) { $0 + $1.byteCount }
      group.structures(1, columns.count) { column, chunk in
        chunk.integer(2, own.chunks[column].offset, .int64)
        chunk.structure(3) { data in
          data.integer(1, PhysicalType.byteArray.rawValue, .int32)
          data.integers(2, [0, 3])
          data.texts(3, [columns[column]])
          data.integer(4, 0, .int32)
          data.integer(5, own.rowCount, .int64)
          data.integer(6, own.chunks[column].byteCount, .int64)
          data.integer(7, own.chunks[column].byteCount, .int64)
          data.integer(9, own.chunks[column].offset, .int64)
        }
      }
      group.integer(2, byteCount, .int64)
      group.integer(3, own.rowCount, .int64)
    }
    footer.text(6, "tarn")
    footer.end()
    return footer.bytes
  }
}
