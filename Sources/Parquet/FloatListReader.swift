// A column of lists as rows of features: every list there, whole and of one
// length, so that rows lie one behind the other. The hot path: levels are looked at
// in blocks, and values go from the page into the caller's memory at once.

package import Base
internal import CParquet

/// Reads a column of lists of floats as rows of one dimension, one after the other
/// from any row on.
///
/// Elements come as they are stored: binary16, binary32 or binary64. Belongs to one
/// thread.
@safe package final class FloatListReader {
  private let file: ParquetFile
  private let column: ParquetColumn
  private let chunks: [ColumnChunk]
  /// Elements of every row.
  package let dimension: Int
  /// What elements are.
  package let elementType: ElementType
  package var rowCount: Int { file.rowCount }
  /// Bytes of the file that the column's pages take.
  package var packedByteCount: Int { chunks.reduce(0) { $0 + $1.range.count } }
  /// The row that comes next.
  package var nextRow: Int { elementCount / dimension }

  private var chunkNumber = -1
  private var pages: PageReader?
  /// Elements that were given.
  private var elementCount = 0
  /// Elements of the open row; `dimension` where none is open.
  private var filled: Int
  private var levels = LevelBlock(count: blockCount)
  /// Where elements go that nobody asked for.
  private let passed = ByteStore()

  /// Levels that are looked at at once.
  private static let blockCount = 8192

  /// Begins before the first row.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - name: The column.
  ///   - dimension: Elements that every row must have; nil for those of the first.
  /// - Throws: ``TarnError`` `.badFeatures` when there is no such column, it
  ///   holds no lists of floats, or the first row is null or empty.
  package init(_ file: ParquetFile, column name: String, dimension: Int? = nil) throws {
    self.file = file
    let column = try file.column(named: name)
    self.column = column
    let (chunks, elementType, width) = try file.explained(name) {
      let elementType = try Self.elementType(column)
      let chunks = try file.chunks(of: column)
      let width = try dimension ?? Self.firstLength(file, column, chunks)
      guard ForeignNumber.dimension.holds(width) else {
        throw ParquetFault("its rows do not have 1 to \(ForeignNumber.dimension.range.upperBound) elements")
      }
      return (chunks, elementType, width)
    }
    (self.chunks, self.elementType, self.dimension, filled) = (chunks, elementType, width, width)
  }

  private static func elementType(_ column: ParquetColumn) throws -> ElementType {
    guard column.shape == .list else {
      throw ParquetFault(
        "it holds one \(column.physicalType.name) a row, not a list of floats", hint: "name a column of lists")
    }
    switch (column.physicalType, column.logicalType) {
    case (.float, _): return .float32
    case (.double, _): return .float64
    case (.fixedByteArray, .float16): return .float16
    default:
      throw ParquetFault(
        "its lists are of \(column.physicalType.name), not of floats", hint: "name a column of lists of floats")
    }
  }

  /// The length of the first row.
  private static func firstLength(_ file: ParquetFile, _ column: ParquetColumn, _ chunks: [ColumnChunk]) throws -> Int {
    guard let chunk = chunks.first(where: { $0.rowGroup.rowCount > 0 }) else {
      throw ParquetFault("it has no rows, so that nothing tells its dimension")
    }
    let pages = try PageReader(file.source, column, chunk)
    var levels = LevelBlock(count: blockCount)
    let limit = ForeignNumber.dimension.range.upperBound
    var length = 0
    while length <= limit, let header = try pages.head() {
      try pages.load(header)
      while pages.page.left > 0, length <= limit {
        let count = min(pages.page.left, blockCount)
        try pages.page.levels(count, into: &levels)
        if length == 0, let lack = column.lack(levels.definition[0]) { throw ParquetFault("row 0 \(lack)") }
        let start = length == 0 ? 1 : 0
        if let next = levels.repetition[start..<max(start, count)].firstIndex(of: 0) { return length + next }
        length += count
      }
    }
    return length
  }

  /// Reads the next rows.
  ///
  /// - Parameters:
  ///   - rows: How many, at most those that are left.
  ///   - output: Gets row after row, `rows × dimension` elements of ``elementType``;
  ///     has no other size.
  /// - Throws: ``TarnError`` `.badFeatures` that names a row that is null, holds
  ///   a null or has another length, or what is damaged. Nothing can be read
  ///   after that.
  package func read(rows: Int, into output: UnsafeMutableRawBufferPointer) throws {
    precondition(rows >= 0 && rows <= rowCount - nextRow, "more rows than the file has")
    let wanted = rows * dimension
    precondition(output.count == wanted * elementType.byteCount, "the room is not that of the rows")
    guard let start = output.baseAddress, wanted > 0 else { return }
    try file.explained(column.name) {
      var done = 0
      while done < wanted {
        let pages = try openPage()
        let count = min(pages.page.left, wanted - done, Self.blockCount)
        try unsafe readBlock(pages, count, start + done * elementType.byteCount)
        done += count
      }
      if nextRow == rowCount { try end() }
    }
  }

  /// Goes to a row, past pages that hold others alone.
  ///
  /// Rows that are passed over are not looked at; as all are of one length, their
  /// number is that of their elements.
  ///
  /// - Parameter row: One of the file's.
  /// - Throws: As ``read(rows:into:)``, and where the row groups cannot hold rows of
  ///   one length.
  package func seek(toRow row: Int) throws {
    precondition((0..<rowCount).contains(row), "no row of the file")
    try file.explained(column.name) {
      let target = chunks.lastIndex { $0.rowGroup.firstRow <= row && $0.rowGroup.rowCount > 0 } ?? 0
      if target != chunkNumber || pages == nil || row < nextRow { try open(target) }
      let wanted = row * dimension
      while elementCount < wanted {
        if let pages, pages.page.left == 0, let header = try pages.head(), header.valueCount <= wanted - elementCount {
          pages.pass(header)
          elementCount += header.valueCount
          filled = elementCount % dimension == 0 ? dimension : elementCount % dimension
          continue
        }
        let pages = try openPage()
        let count = min(pages.page.left, wanted - elementCount, Self.blockCount)
        passed.reserve(count * elementType.byteCount)
        try unsafe readBlock(pages, count, passed.start)
      }
    }
  }

  /// Stands before the first row of a row group.
  private func open(_ number: Int) throws {
    let chunk = chunks[number]
    let (count, overflows) = chunk.rowGroup.rowCount.multipliedReportingOverflow(by: dimension)
    guard !overflows, chunk.valueCount == count, let first = chunk.firstElement(dimension) else {
      throw ParquetFault(
        "row group \(number) has \(chunk.valueCount) elements, not those of \(chunk.rowGroup.rowCount) rows of \(dimension)",
        hint: Self.hint)
    }
    pages = try PageReader(file.source, column, chunk)
    (chunkNumber, elementCount, filled) = (number, first, dimension)
  }

  /// Reads a block that lies in one page.
  private func readBlock(_ pages: PageReader, _ count: Int, _ output: UnsafeMutableRawPointer) throws {
    let present = UInt8(clamping: column.maximumDefinition)
    try pages.page.levels(count, into: &levels)
    let good = unsafe levels.definition.withUnsafeBufferPointer { definition in
      unsafe levels.repetition.withUnsafeBufferPointer { repetition in
        unsafe cparquet_whole_rows(
          repetition.baseAddress, definition.baseAddress, count, present, dimension, &filled)
      }
    }
    guard good == count else { throw deviation(at: good) }
    try unsafe pages.page.values.fixed(count, into: output)
    elementCount += count
  }

  /// What is wrong with a row, at a place of the block whose levels were read.
  private func deviation(at place: Int) -> ParquetFault {
    let before = elementCount + place
    let row = before / dimension
    let isOpen = filled < dimension
    if levels.repetition[place] == 0, isOpen { return wrongLength(row, filled) }
    if levels.repetition[place] != 0, !isOpen {
      guard let first = chunks[chunkNumber].firstElement(dimension), before > first else {
        return ParquetFault("row group \(chunkNumber) begins within a row")
      }
      return ParquetFault("row \(row - 1) has more elements than \(dimension)", hint: Self.hint)
    }
    return ParquetFault("row \(row) \(column.lack(levels.definition[place]) ?? "is damaged")", hint: Self.hint)
  }

  private static let hint = "every row of features has the same number of elements, none of them null"

  private func wrongLength(_ row: Int, _ length: Int) -> ParquetFault {
    ParquetFault("row \(row) has \(length) elements, not \(dimension)", hint: Self.hint)
  }

  /// The page whose elements come next.
  private func openPage() throws -> PageReader {
    while true {
      if let pages {
        if pages.page.left > 0 { return pages }
        if let header = try pages.head() {
          try pages.load(header)
          continue
        }
        try end()
      }
      chunkNumber += 1
      guard chunkNumber < chunks.count else { throw ParquetFault("it has fewer rows than the footer says") }
      pages = try PageReader(file.source, column, chunks[chunkNumber])
    }
  }

  /// Checks that a row group ends with its last row.
  private func end() throws {
    guard let pages, let first = pages.chunk.firstElement(dimension) else { return }
    guard filled == dimension else { throw wrongLength(elementCount / dimension, filled) }
    let rows = (elementCount - first) / dimension
    if pages.page.left > 0 {
      throw ParquetFault("row group \(chunkNumber) has more rows than the \(pages.chunk.rowGroup.rowCount) it says")
    }
    guard rows == pages.chunk.rowGroup.rowCount else {
      throw ParquetFault("row group \(chunkNumber) has \(rows) rows, and it says \(pages.chunk.rowGroup.rowCount)")
    }
  }
}

extension ColumnChunk {
  /// Elements before it, where all rows have `dimension`; nil where there is no
  /// such number.
  fileprivate func firstElement(_ dimension: Int) -> Int? {
    let (count, overflows) = rowGroup.firstRow.multipliedReportingOverflow(by: dimension)
    return overflows ? nil : count
  }
}

extension ParquetColumn {
  /// What a definition level says that an element of a list lacks; nil when it is
  /// there.
  func lack(_ definition: UInt8) -> String? {
    let level = Int(definition)
    if level >= maximumDefinition { return nil }
    if level < emptyListLevel { return "is null" }
    return level == emptyListLevel ? "is empty" : "holds a null"
  }
}
