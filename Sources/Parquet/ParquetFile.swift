// A parquet file, opened: its footer is read and held against the file's length,
// its columns and row groups are known. Pages are read when a column is.
// Format: https://github.com/apache/parquet-format

internal import Base

/// A parquet file of which nothing is believed.
///
/// Opening it reads the footer alone. Immutable, so that threads may share it.
package final class ParquetFile: Sendable {
  /// A part of a file that has its own stretch of each column.
  struct RowGroup: Sendable {
    /// The first of its rows in the file.
    let firstRow: Int
    let rowCount: Int
    /// Where in the footer its columns 0, 32, 64 … lie, so that one is found without passing over all before it.
    let columnPositions: [Int]

    static let columnStride = 32
  }

  let source: any ByteSource
  /// Rows of the whole file.
  package let rowCount: Int
  /// Every column, the leaves of its schema in their order.
  package let columns: [ParquetColumn]
  let rowGroups: [RowGroup]
  /// The places of columns by the first part of their paths, and by the whole: a schema has any number of them.
  private let placesByName: (first: [String: [Int]], whole: [String: [Int]])
  private let footer: [UInt8]

  /// The most bytes of a footer that are read: files of thousands of columns and
  /// row groups have a few MiB.
  private static let maximumFooterByteCount = 64 << 20
  /// At the start and at the end.
  private static let magic: [UInt8] = Array("PAR1".utf8)
  /// The same of a file whose footer is encrypted.
  private static let encryptedMagic: [UInt8] = Array("PARE".utf8)
  private static var encrypted: ParquetFault {
    .refused("an encrypted file", hint: "write it without encryption")
  }

  /// Why a file is none that is read, as its first bytes tell; nil where they may be one's.
  ///
  /// - Parameter start: The file from its start, at least four bytes of it where it has them.
  /// - Returns: The cause.
  package static func fault(ofStart start: [UInt8]) -> String? {
    if start.starts(with: encryptedMagic) { return encrypted.cause }
    return start.starts(with: magic.prefix(start.count)) ? nil : "it does not begin as a parquet file"
  }

  /// Reads the footer of a file.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``TarnError`` as ``init(_:)`` does; `.inputsMissing` when there is
  ///   none.
  package convenience init(path: String) throws { try self.init(InputFile(path: path)) }

  /// Reads the footer of a file.
  ///
  /// - Parameter source: Its bytes.
  /// - Throws: ``TarnError`` `.badFeatures` when it is no parquet file or is
  ///   damaged; `.io`.
  package init(_ source: any ByteSource) throws {
    self.source = source
    let (footer, content) = try Self.explained(source.name) {
      let footer = try Self.readFooter(source)
      let content = try unsafe footer.withUnsafeBytes { bytes in try unsafe Content(bytes) }
      return (footer, content)
    }
    self.footer = footer
    (columns, rowGroups, rowCount) = (content.columns, content.rowGroups, content.rowCount)
    let numbered = Array(content.columns.enumerated())
    placesByName = (
      Dictionary(grouping: numbered) { $0.element.path.first ?? "" }.mapValues { $0.map(\.offset) },
      Dictionary(grouping: numbered) { $0.element.path.joined(separator: ".") }.mapValues { $0.map(\.offset) }
    )
  }

  /// The bytes that pages may lie in.
  var pageBytes: Range<Int> { Self.magic.count..<(source.byteCount - footer.count - 8) }

  private static func readFooter(_ source: any ByteSource) throws -> [UInt8] {
    guard source.byteCount >= 12 else { throw ParquetFault("it is too short for a parquet file") }
    let start = try bytes(of: source, at: 0, count: 4)
    let tail = try bytes(of: source, at: source.byteCount - 8, count: 8)
    if tail[4...].elementsEqual(encryptedMagic) { throw encrypted }
    guard start == magic, tail[4...].elementsEqual(magic) else {
      if start == magic { throw ParquetFault("its end is no parquet file's", hint: "it is truncated: fetch it again") }
      throw ParquetFault("it is no parquet file")
    }
    let count = tail[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard count <= source.byteCount - 12 else {
      throw ParquetFault("its footer of \(count) bytes is longer than the file")
    }
    guard count <= maximumFooterByteCount else {
      throw ParquetFault("its footer has \(count) bytes; tarn reads up to \(maximumFooterByteCount)")
    }
    return try bytes(of: source, at: source.byteCount - 8 - count, count: count)
  }

  /// Bytes that are known to be there.
  static func bytes(of source: any ByteSource, at offset: Int, count: Int) throws -> [UInt8] {
    try unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      try unsafe source.read(
        into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<count]), at: offset)
      filled = count
    }
  }

  // MARK: - Columns

  /// The column of a name: that of a flat column or a list, or its path with dots.
  ///
  /// - Parameter name: The name.
  /// - Returns: A column that can be read.
  /// - Throws: ``TarnError`` `.badFeatures` when there is none, or what of it
  ///   is not read.
  package func column(named name: String) throws -> ParquetColumn {
    try explained(name) {
      let found = (placesByName.first[name] ?? placesByName.whole[name] ?? []).map { columns[$0] }
      guard let column = found.first else {
        let names = columns.prefix(20).map { $0.name.printable }
        throw ParquetFault(
          "there is no such column",
          hint: "it has \(names.joined(separator: ", "))" + (columns.count > 20 ? " and others" : ""))
      }
      guard found.count == 1 else {
        if found.allSatisfy({ $0.path.count == 1 }) {
          throw ParquetFault("there are \(found.count) columns of that name")
        }
        if case .nested(let what) = column.shape {
          throw ParquetFault.refused(
            what, hint: "its parts are \(found.prefix(20).map { $0.name.printable }.joined(separator: ", "))")
        }
        throw ParquetFault("there are \(found.count) columns of that name")
      }
      try column.requireReadable()
      return column
    }
  }

  /// The stretches of a column, one for each row group.
  ///
  /// - Parameter column: One of the file's.
  /// - Returns: The stretches, which lie in the file and apart from each other.
  /// - Throws: ``ParquetFault`` for what they cannot be.
  func chunks(of column: ParquetColumn) throws -> [ColumnChunk] {
    let chunks = try unsafe footer.withUnsafeBytes { bytes in
      try rowGroups.enumerated().map { number, group in
        let (near, rest) = column.index.quotientAndRemainder(dividingBy: RowGroup.columnStride)
        var reader = unsafe ThriftReader(bytes, at: group.columnPositions[near])
        do {
          for _ in 0..<rest { try reader.skipStructure() }
          return try ColumnChunk(&reader, of: column, in: group, pageBytes: pageBytes)
        } catch let fault as ParquetFault {
          throw ParquetFault("row group \(number): \(fault.cause)", hint: fault.hint)
        }
      }
    }
    let places = chunks.map(\.range).filter { !$0.isEmpty }.sorted { $0.lowerBound < $1.lowerBound }
    for (left, right) in zip(places, places.dropFirst()) where left.upperBound > right.lowerBound {
      throw ParquetFault("its row groups overlap")
    }
    return chunks
  }

  // MARK: - Errors

  /// Turns a fault into an error that names the file and the column.
  func explained<Value>(_ column: String, _ body: () throws -> Value) throws -> Value {
    try Self.explained("\(source.name): column '\(column.printable)'", body)
  }

  private static func explained<Value>(_ place: String, _ body: () throws -> Value) throws -> Value {
    do { return try body() } catch let fault as ParquetFault {
      throw TarnError(.badFeatures, "\(place): \(fault.cause)", hint: fault.hint)
    } catch ThriftFault.ended {
      throw TarnError(.badFeatures, "\(place): its footer ends within something")
    } catch ThriftFault.malformed(let cause) {
      throw TarnError(.badFeatures, "\(place): its footer is damaged: \(cause)")
    }
  }
}

/// What a footer says.
private struct Content {
  var columns: [ParquetColumn] = []
  var rowGroups: [ParquetFile.RowGroup] = []
  var rowCount = 0

  init(_ bytes: UnsafeRawBufferPointer) throws {
    var reader = unsafe ThriftReader(bytes)
    var last = 0
    var claimed: Int?
    var groups: (position: Int, count: Int)?
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 2: columns = try SchemaReader(&reader, field.kind).columns
      case 3: claimed = try reader.integer(field.kind)
      case 4:
        // Row groups are read when the columns are known, which may come behind them.
        let start = reader.position
        groups = (start, try reader.structures(field.kind))
        reader = unsafe ThriftReader(bytes, at: start)
        try reader.skip(field.kind)
      // How columns are encrypted that are, and who signed the footer, is among the others.
      default: try reader.skip(field.kind)
      }
    }
    guard !columns.isEmpty else { throw ParquetFault("its schema has no columns") }
    if let groups {
      reader = unsafe ThriftReader(bytes, at: groups.position)
      _ = try reader.structures(.list)
      for _ in 0..<groups.count { try readRowGroup(&reader) }
    }
    guard claimed == rowCount else {
      throw ParquetFault("its row groups have \(rowCount) rows, and it says \(claimed.map(String.init) ?? "nothing")")
    }
  }

  private mutating func readRowGroup(_ reader: inout ThriftReader) throws {
    var last = 0
    var own: (rowCount: Int?, positions: [Int]?)
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1:
        let count = try reader.structures(field.kind)
        guard count == columns.count else {
          throw ParquetFault("row group \(rowGroups.count) has \(count) columns where the schema has \(columns.count)")
        }
        var positions: [Int] = []
        for number in 0..<count {
          if number.isMultiple(of: ParquetFile.RowGroup.columnStride) { positions.append(reader.position) }
          try reader.skipStructure()
        }
        own.positions = positions
      case 3: own.rowCount = try reader.integer(field.kind)
      default: try reader.skip(field.kind)
      }
    }
    guard let positions = own.positions, let count = own.rowCount, ForeignNumber.rowCount.holds(count),
      ForeignNumber.rowCount.holds(rowCount + count)
    else { throw ParquetFault("row group \(rowGroups.count) says \(own.rowCount ?? 0) rows") }
    rowGroups.append(ParquetFile.RowGroup(firstRow: rowCount, rowCount: count, columnPositions: positions))
    rowCount += count
  }
}
