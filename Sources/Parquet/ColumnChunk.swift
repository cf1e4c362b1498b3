// The stretch of a file that holds one column of one row group, and where its
// pages are, if the file says so.

internal import Base

/// How pages are compressed.
enum Compression: Int, Sendable {
  case none = 0
  case snappy, gzip, lzo, brotli, lz4, zstd, lz4Raw

  /// Says that it is not read.
  ///
  /// - Throws: ``ParquetFault`` that names it.
  func requireReadable() throws {
    let name: String
    switch self {
    case .none, .snappy, .gzip, .zstd: return
    case .lzo: name = "LZO"
    case .brotli: name = "BROTLI"
    case .lz4: name = "LZ4"
    case .lz4Raw: name = "LZ4_RAW"
    }
    throw ParquetFault.refused("its compression \(name)", hint: "write it with zstd, snappy, gzip or none")
  }
}

/// One column of one row group.
struct ColumnChunk: Sendable {
  let rowGroup: ParquetFile.RowGroup
  /// Its pages' bytes in the file; none for no rows.
  let range: Range<Int>
  /// Values and nulls of all its pages.
  let valueCount: Int
  /// Bytes of all its pages, unpacked.
  let unpackedByteCount: Int
  let compression: Compression
  /// Where the file says where its pages are.
  let index: Range<Int>?

  /// Reads what the footer says of a column of a row group.
  ///
  /// - Parameters:
  ///   - reader: At the struct.
  ///   - column: Which column it is of.
  ///   - group: Which row group it is of.
  ///   - pageBytes: Where pages may lie in the file.
  /// - Throws: ``ThriftFault``; ``ParquetFault`` for what it cannot be.
  init(
    _ reader: inout ThriftReader, of column: ParquetColumn, in group: ParquetFile.RowGroup, pageBytes: Range<Int>
  ) throws {
    var last = 0
    var metadata: Metadata?
    var (indexOffset, indexByteCount) = (0, 0)
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1: throw ParquetFault.refused("a column in a file of its own", hint: "write one file")
      case 3:
        try ThriftReader.structure(field.kind)
        metadata = try Metadata(&reader)
      case 4: indexOffset = try reader.integer(field.kind)
      case 5: indexByteCount = try reader.integer(field.kind)
      case 8, 9: throw ParquetFault.refused("an encrypted column", hint: "write it without encryption")
      default: try reader.skip(field.kind)
      }
    }
    guard let metadata, let type = metadata.type, let codec = metadata.codec, let count = metadata.valueCount,
      let packed = metadata.packedByteCount, let unpacked = metadata.unpackedByteCount, let first = metadata.dataOffset
    else { throw ParquetFault("the footer does not say where its pages are") }
    guard type == column.physicalType.rawValue else {
      throw ParquetFault("its pages are of type \(type), the schema's is \(column.physicalType.name)")
    }
    guard let compression = Compression(rawValue: codec) else {
      throw ParquetFault.refused("its compression number \(codec)", hint: "write it with zstd, snappy, gzip or none")
    }
    guard ForeignNumber.rowCount.holds(count), unpacked >= 0, packed >= 0 else {
      throw ParquetFault("it says \(count) values in \(packed) bytes")
    }
    guard column.maximumRepetition > 0 ? count >= group.rowCount : count == group.rowCount else {
      throw ParquetFault("it has \(count) values for \(group.rowCount) rows")
    }
    (rowGroup, valueCount, unpackedByteCount, self.compression) = (group, count, unpacked, compression)
    if count == 0 {
      (range, index) = (pageBytes.lowerBound..<pageBytes.lowerBound, nil)
      return
    }
    // Some writers say 0 where there is no dictionary.
    let start = metadata.dictionaryOffset.map { $0 > 0 && $0 < first ? $0 : first } ?? first
    guard pageBytes.contains(start), packed <= pageBytes.upperBound - start else {
      throw ParquetFault("its pages lie outside the file, at byte \(start)", hint: "it is truncated: fetch it again")
    }
    range = start..<(start + packed)
    guard range.contains(first) else { throw ParquetFault("its pages do not begin where they lie, at byte \(first)") }
    let isIndexed =
      indexOffset >= pageBytes.lowerBound && indexOffset < pageBytes.upperBound && indexByteCount > 0
      && indexByteCount <= pageBytes.upperBound - indexOffset && indexByteCount <= PageIndex.maximumByteCount
    index = isIndexed ? indexOffset..<(indexOffset + indexByteCount) : nil
  }

  private struct Metadata {
    var type: Int?
    var codec: Int?
    var valueCount: Int?
    var unpackedByteCount: Int?
    var packedByteCount: Int?
    var dataOffset: Int?
    var dictionaryOffset: Int?

    init(_ reader: inout ThriftReader) throws {
      var last = 0
      while let field = try reader.field(after: &last) {
        switch field.id {
        case 1: type = try reader.integer(field.kind)
        case 4: codec = try reader.integer(field.kind)
        case 5: valueCount = try reader.integer(field.kind)
        case 6: unpackedByteCount = try reader.integer(field.kind)
        case 7: packedByteCount = try reader.integer(field.kind)
        case 9: dataOffset = try reader.integer(field.kind)
        case 11: dictionaryOffset = try reader.integer(field.kind)
        default: try reader.skip(field.kind)
        }
      }
    }
  }
}

/// Where the pages of a chunk are, as a file may say beside them.
struct PageIndex {
  struct Place {
    let offset: Int
    /// The first row in the row group.
    let firstRow: Int
  }

  /// The most bytes that are read: a page takes about ten.
  static let maximumByteCount = 16 << 20

  /// Ascending, the first at row 0.
  private(set) var places: [Place] = []

  /// Reads an index.
  ///
  /// - Parameters:
  ///   - bytes: The index.
  ///   - chunk: What it is of.
  /// - Throws: ``ThriftFault``; ``ParquetFault`` for what it cannot be.
  init(_ bytes: UnsafeRawBufferPointer, of chunk: ColumnChunk) throws {
    var reader = unsafe ThriftReader(bytes)
    var last = 0
    while let field = try reader.field(after: &last) {
      guard field.id == 1 else {
        try reader.skip(field.kind)
        continue
      }
      for _ in 0..<(try reader.structures(field.kind)) {
        var (inner, offset, row) = (0, -1, -1)
        while let part = try reader.field(after: &inner) {
          switch part.id {
          case 1: offset = try reader.integer(part.kind)
          case 3: row = try reader.integer(part.kind)
          default: try reader.skip(part.kind)
          }
        }
        // A page without rows begins where the one before it did.
        guard chunk.range.contains(offset), row >= places.last?.firstRow ?? 0, row <= chunk.rowGroup.rowCount,
          offset > places.last?.offset ?? 0, !places.isEmpty || row == 0
        else { throw ParquetFault("its index of pages is damaged") }
        places.append(Place(offset: offset, firstRow: row))
      }
    }
    guard !places.isEmpty else { throw ParquetFault("its index of pages is damaged") }
  }

  /// The place of the last page that begins at or before a row.
  func page(ofRow row: Int) -> Int {
    max(0, places.partitioningIndex { $0.firstRow > row } - 1)
  }
}
