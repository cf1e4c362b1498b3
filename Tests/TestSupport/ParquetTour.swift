// Everything of a parquet file that the reader has a door to, as far as a bound.

internal import Base
package import Parquet

/// A file that is in memory.
package struct MemoryBytes: ByteSource {
  package let name = "memory.parquet"
  package let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  package var byteCount: Int { bytes.count }

  package func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    precondition(offset >= 0 && offset + target.count <= bytes.count, "a read beyond the bytes that were promised")
    target.copyBytes(from: bytes[offset..<(offset + target.count)])
  }
}

package enum ParquetTour {
  /// Rows of a column that are read, and columns.
  private static let (rowCount, columnCount) = (600, 12)

  /// Reads the columns of a file in each way there is.
  ///
  /// - Parameter file: The file.
  /// - Throws: The first error, once all columns were tried.
  package static func read(_ file: ParquetFile) throws {
    var first: (any Error)?
    func attempt(_ body: () throws -> Void) {
      do { try body() } catch { first = first ?? error }
    }
    for column in file.columns.prefix(columnCount) {
      attempt {
        let cursor = try ColumnCursor(file, column: column.name)
        var count = 0
        while count < rowCount, case let values = try cursor.next(100), !values.isEmpty { count += values.count }
      }
      let rows = [file.rowCount - 1, 0, file.rowCount / 2, 1, file.rowCount / 3].filter {
        (0..<file.rowCount).contains($0)
      }
      // A row that is far away in a file that lies takes as long as it says.
      attempt { _ = try file.values(ofRows: rows.filter { $0 < 1 << 16 }, column: column.name) }
      guard column.shape == .list, column.physicalType == .float || column.physicalType == .double else { continue }
      attempt {
        guard file.rowCount > 0 else { return }
        let reader = try FloatListReader(file, column: column.name)
        for _ in 0..<min(rowCount, file.rowCount) {
          var row = [UInt8](repeating: 0, count: reader.dimension * reader.elementType.byteCount)
          try row.withUnsafeMutableBytes { try reader.read(rows: 1, into: $0) }
        }
        for number in rows where number < 1 << 16 { try reader.seek(toRow: number) }
      }
    }
    if let first { throw first }
  }
}
