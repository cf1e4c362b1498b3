// A column row by row, as values: for what is read to be shown and not to be
// computed with. Moves over pages that hold none of the rows wanted.

internal import Base
internal import CParquet

/// A value of a row.
package enum ParquetValue: Sendable, Equatable {
  case null
  case boolean(Bool)
  /// Also days, and times in the unit of the column's ``LogicalType``.
  case integer(Int64)
  /// One of 64 bits without a sign that is no `Int64`.
  case unsigned(UInt64)
  /// binary16 too.
  case float(Float)
  case double(Double)
  case text(String)
  /// Bytes that nobody says are text.
  case bytes([UInt8])
  case list([ParquetValue])

  /// Bytes that are kept for it beyond its own.
  package var byteCount: Int {
    switch self {
    case .text(let text): text.utf8.count
    case .bytes(let bytes): bytes.count
    case .list(let values): values.reduce(16 * values.count) { $0 + $1.byteCount }
    default: 0
    }
  }
}

/// Reads a column row by row.
///
/// Takes the memory of a page, a dictionary and the rows that are asked for.
/// Belongs to one thread.
@safe package final class ColumnCursor {
  private let file: ParquetFile
  package let column: ParquetColumn
  private let chunks: [ColumnChunk]
  private var chunkNumber = 0
  private var pages: PageReader?
  /// Rows of the chunk that were passed.
  private var rowInChunk = 0
  /// Where its pages are, once that was asked.
  private var index: PageIndex?

  /// Levels of a page that were read together, and the values they speak of.
  private var levels = LevelBlock(count: batchCount)
  private var (levelPosition, levelCount) = (0, 0)
  private var valuePosition = 0
  private let fixed = ByteStore()
  private var slices: [UnsafeRawBufferPointer] = unsafe []

  /// Levels of a batch, and the bytes of its values of one width.
  private static let (batchCount, batchByteCount) = (1024, 1 << 20)
  /// Bytes of texts after which ``next(_:)`` gives what it has, and the most of a
  /// row.
  private static let (answerByteCount, rowByteCount) = (16 << 20, 256 << 20)
  /// The most elements of a list.
  private static let maximumListCount = 1 << 20

  /// Begins before the first row.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - name: The column.
  /// - Throws: ``TarnError`` `.badFeatures` when there is no such column, or it
  ///   is not read.
  package init(_ file: ParquetFile, column name: String) throws {
    self.file = file
    let column = try file.column(named: name)
    self.column = column
    chunks = try file.explained(name) { try file.chunks(of: column) }
  }

  /// Bytes of memory that its page and its dictionary take.
  package var heldByteCount: Int { pages?.heldByteCount ?? 0 }

  /// The row that comes next.
  package var nextRow: Int {
    chunkNumber < chunks.count ? chunks[chunkNumber].rowGroup.firstRow + rowInChunk : file.rowCount
  }

  /// Reads the next rows.
  ///
  /// - Parameter count: How many, `1...`.
  /// - Returns: Their values; fewer at the end and where they are long, none behind
  ///   the last row.
  /// - Throws: ``TarnError`` `.badFeatures` for what is damaged; `.io`.
  package func next(_ count: Int) throws -> [ParquetValue] {
    var values: [ParquetValue] = []
    var byteCount = 0
    try explained {
      while values.count < count, byteCount < Self.answerByteCount, try findRow() {
        values.append(try row())
        byteCount += values[values.count - 1].byteCount
      }
    }
    return values
  }

  /// Goes to a row.
  ///
  /// - Parameter row: One of the file's.
  /// - Throws: As ``next(_:)``.
  package func seek(toRow row: Int) throws {
    precondition((0..<file.rowCount).contains(row), "no row of the file")
    try explained {
      let target = chunks.lastIndex { $0.rowGroup.firstRow <= row && $0.rowGroup.rowCount > 0 } ?? 0
      let wanted = row - chunks[target].rowGroup.firstRow
      if target != chunkNumber || pages == nil || wanted < rowInChunk { try open(target) }
      try useIndex(wanted)
      while rowInChunk < wanted { try pass(wanted - rowInChunk) }
    }
  }

  private func explained(_ body: () throws -> Void) throws {
    try file.explained(column.name) {
      do { try body() } catch let fault as ParquetFault {
        throw ParquetFault("\(fault.cause), at row \(nextRow)", hint: fault.hint)
      }
    }
  }

  // MARK: - Rows

  /// Stands before a row; false behind the last.
  private func findRow() throws -> Bool {
    while chunkNumber < chunks.count {
      let chunk = chunks[chunkNumber]
      if rowInChunk < chunk.rowGroup.rowCount {
        if pages == nil { try open(chunkNumber) }
        guard try refill() else {
          throw ParquetFault("row group \(chunkNumber) has fewer than its \(chunk.rowGroup.rowCount) rows")
        }
        return true
      }
      if let pages, column.maximumRepetition > 0, try refill() || pages.head() != nil {
        throw ParquetFault("row group \(chunkNumber) has more than its \(chunk.rowGroup.rowCount) rows")
      }
      (chunkNumber, rowInChunk, pages, index) = (chunkNumber + 1, 0, nil, nil)
    }
    return false
  }

  private func open(_ number: Int) throws {
    if number != chunkNumber { index = nil }
    (chunkNumber, rowInChunk, levelPosition, levelCount) = (number, 0, 0, 0)
    pages = try PageReader(file.source, column, chunks[number])
  }

  /// Makes sure that a level comes next; false behind the last of the chunk.
  private func refill() throws -> Bool {
    if levelPosition < levelCount { return true }
    guard let pages else { return false }
    while pages.page.left == 0 {
      guard let header = try pages.head() else { return false }
      try pages.load(header)
    }
    let width = column.width
    let count = min(pages.page.left, Self.batchCount, max(1, Self.batchByteCount / (width ?? 1)))
    try pages.page.levels(count, into: &levels)
    let present = presentCount(0..<count)
    if let width {
      fixed.reserve(present * width)
      try unsafe pages.page.values.fixed(present, into: fixed.start)
    } else {
      unsafe slices.removeAll(keepingCapacity: true)
      try unsafe pages.page.values.slices(present, into: &slices)
    }
    (levelPosition, levelCount, valuePosition) = (0, count, 0)
    return true
  }

  /// How many of some levels of the batch have a value.
  private func presentCount(_ places: Range<Int>) -> Int {
    unsafe levels.definition.withUnsafeBufferPointer { definition in
      unsafe cparquet_count_levels(
        definition.baseAddress.map { unsafe $0 + places.lowerBound }, places.count,
        UInt8(clamping: column.maximumDefinition))
    }
  }

  /// The row before which it stands.
  private func row() throws -> ParquetValue {
    guard column.shape == .list else {
      let value = try element()
      rowInChunk += 1
      return value
    }
    guard levels.repetition[levelPosition] == 0 else { throw ParquetFault("a row group begins within a row") }
    if Int(levels.definition[levelPosition]) <= column.emptyListLevel {
      let isNull = Int(levels.definition[levelPosition]) < column.emptyListLevel
      levelPosition += 1
      rowInChunk += 1
      return isNull ? .null : .list([])
    }
    var (values, byteCount) = ([ParquetValue](), 0)
    repeat {
      guard Int(levels.definition[levelPosition]) > column.emptyListLevel else {
        throw ParquetFault("a list is damaged")
      }
      values.append(try element())
      byteCount += values[values.count - 1].byteCount
      guard values.count <= Self.maximumListCount, byteCount <= Self.rowByteCount else {
        throw ParquetFault.refused("a list of so many values", hint: "write it as several rows")
      }
    } while try refill() && levels.repetition[levelPosition] != 0
    rowInChunk += 1
    return .list(values)
  }

  /// The value or null of the next level.
  private func element() throws -> ParquetValue {
    let isPresent = Int(levels.definition[levelPosition]) == column.maximumDefinition
    levelPosition += 1
    guard isPresent else { return .null }
    defer { valuePosition += 1 }
    return try value(valuePosition)
  }

  /// A value of the batch.
  private func value(_ place: Int) throws -> ParquetValue {
    switch column.physicalType {
    case .boolean: return .boolean(load(place, UInt8.self) != 0)
    case .int32:
      if case .integer(_, isSigned: false) = column.logicalType { return .integer(Int64(load(place, UInt32.self))) }
      return .integer(Int64(load(place, Int32.self)))
    case .int64:
      let value = load(place, Int64.self)
      if value < 0, case .integer(_, isSigned: false) = column.logicalType {
        return .unsigned(UInt64(bitPattern: value))
      }
      return .integer(value)
    case .float: return .float(Float(bitPattern: load(place, UInt32.self)))
    case .double: return .double(Double(bitPattern: load(place, UInt64.self)))
    case .int96: throw ParquetFault.refused("its type INT96", hint: "write it as INT64 timestamps")
    case .fixedByteArray:
      if column.logicalType == .float16 { return .float(Float(Float16(bitPattern: load(place, UInt16.self)))) }
      let width = column.fixedByteCount
      return .bytes(unsafe Array(UnsafeRawBufferPointer(start: fixed.start + place * width, count: width)))
    case .byteArray:
      let slice = unsafe slices[place]
      guard column.logicalType == .text else { return .bytes(unsafe Array(slice)) }
      guard let text = unsafe String(validating: slice, as: UTF8.self) else {
        throw ParquetFault("a text is not UTF-8")
      }
      return .text(text)
    }
  }

  private func load<Value: BitwiseCopyable>(_ place: Int, _ type: Value.Type) -> Value {
    unsafe fixed.start.loadUnaligned(fromByteOffset: place * MemoryLayout<Value>.size, as: type)
  }

  // MARK: - Passing over rows

  /// Passes over at most `count` rows, at least one.
  private func pass(_ count: Int) throws {
    guard let pages else { return }
    if levelPosition == levelCount, pages.page.left == 0, let header = try pages.head() {
      if let rows = rowCount(of: header), rows <= count {
        pages.pass(header)
        rowInChunk += rows
        return
      }
    }
    guard try refill() else { throw ParquetFault("row group \(chunkNumber) has fewer rows than it says") }
    if column.shape == .list {
      _ = try row()
    } else {
      let some = min(count, levelCount - levelPosition)
      valuePosition += presentCount(levelPosition..<(levelPosition + some))
      levelPosition += some
      rowInChunk += some
    }
  }

  /// Goes to the page of a row of the chunk, where the file says which that is.
  private func useIndex(_ row: Int) throws {
    guard let pages, let index = try readIndex() else { return }
    let number = index.page(ofRow: row)
    let place = index.places[number]
    // Rows that are at hand are not read again.
    guard place.firstRow > rowInChunk else { return }
    try pages.seek(to: place)
    pages.page = DataPage()
    (levelPosition, levelCount, rowInChunk) = (0, 0, place.firstRow)
    // The page says itself how many rows it has, unless they are lists of the older kind.
    let end = number + 1 < index.places.count ? index.places[number + 1].firstRow : pages.chunk.rowGroup.rowCount
    guard let header = try pages.head(), rowCount(of: header) ?? (end - place.firstRow) == end - place.firstRow else {
      throw Self.damagedIndex
    }
  }

  private static let damagedIndex = ParquetFault("its index of pages is damaged")

  /// Where the pages of the chunk are, read once.
  private func readIndex() throws -> PageIndex? {
    if let index { return index }
    guard let range = chunks[chunkNumber].index else { return nil }
    let bytes = try ParquetFile.bytes(of: file.source, at: range.lowerBound, count: range.count)
    do {
      index = try unsafe bytes.withUnsafeBytes { bytes in try unsafe PageIndex(bytes, of: chunks[chunkNumber]) }
    } catch is ThriftFault {
      throw Self.damagedIndex
    }
    return index
  }

  /// The rows of a page, where its head tells.
  private func rowCount(of header: PageHeader) -> Int? {
    if column.maximumRepetition == 0 { return header.valueCount }
    if case .data2(let rowCount, _, _, _) = header.kind { return rowCount }
    return nil
  }
}

extension ParquetFile {
  /// The values of some rows.
  ///
  /// - Parameters:
  ///   - rows: Rows of the file, in any order.
  ///   - name: The column.
  /// - Returns: Their values in that order.
  /// - Throws: ``TarnError`` as ``ColumnCursor/next(_:)``.
  package func values(ofRows rows: [Int], column name: String) throws -> [ParquetValue] {
    let cursor = try ColumnCursor(self, column: name)
    var found: [Int: ParquetValue] = [:]
    for row in Set(rows).sorted() {
      try cursor.seek(toRow: row)
      found[row] = try cursor.next(1).first
    }
    return rows.map { found[$0] ?? .null }
  }
}
