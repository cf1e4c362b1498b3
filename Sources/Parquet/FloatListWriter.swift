// One column of lists of floats, written: rows of features as pyarrow, duckdb and fastparquet
// read them. Nothing is packed, and rows are of one length, so that all sizes are known before.
// Format: https://github.com/apache/parquet-format

package import Base

/// Writes a file with one column of lists, row group by row group.
///
/// Lists have three levels as the format asks for, all of whose elements are there. Belongs to
/// one thread.
@safe package final class FloatListWriter {
  private struct RowGroup {
    var rowCount: Int
    var offset: Int
    var byteCount: Int
  }

  private let column: String
  private let elementType: ElementType
  private let rowCount: Int
  private let dimension: Int
  private var groups: [RowGroup] = []
  private var offset = 4

  private static let magic = Array("PAR1".utf8)
  /// Bytes of values of a page and of a row group, about.
  private static let (pageByteCount, groupByteCount) = (1 << 20, 64 << 20)

  private var rowByteCount: Int { dimension * elementType.byteCount }
  private var rowsOfPage: Int { max(Self.pageByteCount / rowByteCount, 1) }
  private var rowsOfGroup: Int { max(Self.groupByteCount / rowByteCount / rowsOfPage, 1) * rowsOfPage }

  /// Prepares a file.
  ///
  /// - Parameters:
  ///   - column: The column's name.
  ///   - elementType: float16, float32 or float64.
  ///   - rowCount: Rows of the file.
  ///   - dimension: Elements of each.
  /// - Throws: ``TarnError`` `.usage` for rows that such a file should not have.
  package init(column: String, _ elementType: ElementType, rowCount: Int, dimension: Int) throws {
    precondition([.float16, .float32, .float64].contains(elementType), "no lists of \(elementType) are written")
    guard ForeignNumber.dimension.holds(dimension) else {
      throw TarnError(
        .usage, "a .parquet file of rows of \(dimension) elements is not written", hint: "name another form")
    }
    (self.column, self.elementType) = (column, elementType)
    (self.rowCount, self.dimension) = (rowCount, dimension)
  }

  /// What stands before the first row.
  package var head: [UInt8] { Self.magic }

  /// Writes rows.
  ///
  /// - Parameters:
  ///   - rows: The next ones, whole, dense.
  ///   - write: Gets the bytes of the file, in order.
  /// - Throws: Whatever `write` does.
  package func add(_ rows: UnsafeRawBufferPointer, _ write: (UnsafeRawBufferPointer) throws -> Void) throws {
    // Pages are cut where the file's rows say, however rows come.
    unsafe pending += rows
    while pending.count >= rowsOfPage * rowByteCount { try unsafe page(rowsOfPage, write) }
  }

  private var pending: [UInt8] = []

  /// Writes what is left and the footer, after all rows were added.
  ///
  /// - Parameter write: Gets the bytes.
  /// - Throws: Whatever `write` does.
  package func finish(_ write: (UnsafeRawBufferPointer) throws -> Void) throws {
    if !pending.isEmpty { try unsafe page(pending.count / rowByteCount, write) }
    precondition(groups.reduce(0) { $0 + $1.rowCount } == rowCount, "not all rows were given")
    let footer = footer()
    let tail = footer + (0..<4).map { UInt8(truncatingIfNeeded: footer.count >> (8 * $0)) } + Self.magic
    try unsafe tail.withUnsafeBytes(write)
  }

  private func page(_ count: Int, _ write: (UnsafeRawBufferPointer) throws -> Void) throws {
    let valueCount = count * dimension
    // A row begins with level 0 and goes on with 1; every element is at the highest level.
    var repetition: [UInt8] = []
    let row = Self.run(0, 1) + (dimension > 1 ? Self.run(1, dimension - 1) : [])
    for _ in 0..<(dimension > 1 ? count : 1) { repetition += row }
    if dimension == 1 { repetition = Self.run(0, count) }
    let levels = Self.sized(repetition) + Self.sized(Self.run(3, valueCount))
    let byteCount = levels.count + count * rowByteCount
    let start = ThriftWriter.pageHeader(byteCount: byteCount, valueCount: valueCount) + levels
    try unsafe start.withUnsafeBytes(write)
    try unsafe pending.withUnsafeBytes {
      try unsafe write(UnsafeRawBufferPointer(rebasing: $0[..<(count * rowByteCount)]))
    }
    pending.removeFirst(count * rowByteCount)
    let written = start.count + count * rowByteCount
    if groups.isEmpty || groups[groups.count - 1].rowCount == rowsOfGroup {
      groups.append(RowGroup(rowCount: 0, offset: offset, byteCount: 0))
    }
    groups[groups.count - 1].rowCount += count
    groups[groups.count - 1].byteCount += written
    offset += written
  }

  /// One level, repeated.
  private static func run(_ level: UInt8, _ count: Int) -> [UInt8] {
    ThriftWriter.unsigned(UInt64(count) << 1) + [level]
  }

  private static func sized(_ bytes: [UInt8]) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
  }

  private var physicalType: PhysicalType {
    switch elementType {
    case .float16: .fixedByteArray
    case .float64: .double
    default: .float
    }
  }

  private func footer() -> [UInt8] {
    var footer = ThriftWriter()
    footer.integer(1, 2, .int32)
    footer.structures(2, 4) { place, element in
      switch place {
      case 0:
        element.text(4, "schema")
        element.integer(5, 1, .int32)
      case 1:
        element.integer(3, 1, .int32)
        element.text(4, column)
        element.integer(5, 1, .int32)
        element.integer(6, 3, .int32)
        element.structure(10) { $0.structure(3) { _ in } }
      case 2:
        element.integer(3, 2, .int32)
        element.text(4, "list")
        element.integer(5, 1, .int32)
      default:
        element.integer(1, physicalType.rawValue, .int32)
        if elementType == .float16 { element.integer(2, 2, .int32) }
        element.integer(3, 1, .int32)
        element.text(4, "element")
        if elementType == .float16 { element.structure(10) { $0.structure(15) { _ in } } }
      }
    }
    footer.integer(3, rowCount, .int64)
    footer.structures(4, groups.count) { place, group in
      let own = groups[place]
      group.structures(1, 1) { _, chunk in
        chunk.integer(2, own.offset, .int64)
        chunk.structure(3) { data in
          data.integer(1, physicalType.rawValue, .int32)
          data.integers(2, [0, 3])
          data.texts(3, [column, "list", "element"])
          data.integer(4, 0, .int32)
          data.integer(5, own.rowCount * dimension, .int64)
          data.integer(6, own.byteCount, .int64)
          data.integer(7, own.byteCount, .int64)
          data.integer(9, own.offset, .int64)
        }
      }
      group.integer(2, own.byteCount, .int64)
      group.integer(3, own.rowCount, .int64)
    }
    footer.text(6, "tarn")
    footer.end()
    return footer.bytes
  }
}
