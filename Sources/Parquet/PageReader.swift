// The pages of one chunk: found, checked, unpacked, and cut into levels and values.

internal import Base
internal import CParquet

/// Levels of values that were read together.
struct LevelBlock {
  fileprivate(set) var (definition, repetition): ([UInt8], [UInt8])

  /// Room for so many.
  init(count: Int) {
    definition = [UInt8](repeating: 0, count: count)
    repetition = definition
  }
}

/// A page of data that is being read: what of it comes next.
@safe struct DataPage {
  /// Values and nulls that were not read yet.
  private(set) var left: Int
  private let (maximumDefinition, maximumRepetition): (UInt8, UInt8)
  private var definition = unsafe cparquet_runs()
  private var repetition = unsafe cparquet_runs()
  var values: ValueDecoder

  /// No page.
  init() {
    (left, maximumDefinition, maximumRepetition) = (0, 0, 0)
    values = ValueDecoder()
  }

  init(
    _ column: ParquetColumn, count: Int, repetition: UnsafeRawBufferPointer, definition: UnsafeRawBufferPointer,
    values: ValueDecoder
  ) {
    left = count
    maximumDefinition = UInt8(clamping: column.maximumDefinition)
    maximumRepetition = UInt8(clamping: column.maximumRepetition)
    unsafe cparquet_runs_begin(
      &self.definition, definition.baseAddress, definition.count, Self.width(column.maximumDefinition))
    unsafe cparquet_runs_begin(
      &self.repetition, repetition.baseAddress, repetition.count, Self.width(column.maximumRepetition))
    self.values = values
  }

  /// Bits of the levels up to one.
  private static func width(_ level: Int) -> UInt32 { UInt32(Int.bitWidth - level.leadingZeroBitCount) }

  /// Reads the levels of the next values.
  ///
  /// - Parameters:
  ///   - count: How many, at most those that are left.
  ///   - block: Gets them from its start; has room for `count`.
  /// - Throws: ``ParquetFault`` where there are fewer, or one that the schema has
  ///   not.
  mutating func levels(_ count: Int, into block: inout LevelBlock) throws {
    precondition(count <= left && count <= block.definition.count, "more levels than there are, or than have room")
    try unsafe block.definition.withUnsafeMutableBufferPointer {
      try unsafe Self.levels(&definition, count, upTo: maximumDefinition, $0)
    }
    try unsafe block.repetition.withUnsafeMutableBufferPointer {
      try unsafe Self.levels(&repetition, count, upTo: maximumRepetition, $0)
    }
    left -= count
  }

  private static func levels(
    _ runs: inout cparquet_runs, _ count: Int, upTo most: UInt8, _ room: UnsafeMutableBufferPointer<UInt8>
  ) throws {
    guard let output = room.baseAddress else { return }
    guard most > 0 else {
      unsafe output.update(repeating: 0, count: count)
      return
    }
    guard unsafe cparquet_runs_small(&runs, count, output) == count else {
      throw ParquetFault("a page ends within its levels")
    }
    guard unsafe cparquet_levels_within(output, count, most) != 0 else {
      throw ParquetFault("a page has a level above \(most)")
    }
  }
}

/// The pages of one column of one row group, in order.
///
/// At most one page is in memory, and a dictionary. Belongs to one thread.
@safe final class PageReader {
  let column: ParquetColumn
  let chunk: ColumnChunk
  private let window: ByteWindow
  /// Where the next page is.
  private var offset: Int
  /// Values of the pages before it, or of those since a seek, and their unpacked bytes.
  private var (seen, unpackedByteCount) = (0, 0)
  private var hasSought = false
  /// The head of the page at `offset`, once it was read.
  private var nextHead: PageHeader?
  private let body = ByteStore()
  private let dictionaryBody = ByteStore()
  private var dictionary: ValueDictionary?
  /// Bytes of memory that it takes.
  var heldByteCount: Int { body.capacity + dictionaryBody.capacity + window.heldByteCount }

  /// The page that was loaded last; its bytes are gone when the next head is read.
  var page = DataPage()

  init(_ source: any ByteSource, _ column: ParquetColumn, _ chunk: ColumnChunk) throws {
    (self.column, self.chunk) = (column, chunk)
    window = ByteWindow(source, chunk.range)
    offset = chunk.range.lowerBound
    if chunk.valueCount > 0 { try chunk.compression.requireReadable() }
  }

  /// The head of the next page of data; nil behind the last value.
  ///
  /// A dictionary before it is read on the way.
  ///
  /// - Returns: The head.
  /// - Throws: ``ParquetFault``; ``TarnError``.
  func head() throws -> PageHeader? {
    if let nextHead { return nextHead }
    while seen < chunk.valueCount, !hasSought || offset < chunk.range.upperBound {
      let header = try readHead()
      guard header.packedByteCount <= chunk.range.upperBound - offset - header.byteCount else {
        throw ParquetFault("a page reaches beyond its column's bytes")
      }
      guard header.unpackedByteCount <= chunk.unpackedByteCount - unpackedByteCount else {
        throw ParquetFault(
          "a page says \(header.unpackedByteCount) bytes unpacked where the column has "
            + "\(chunk.unpackedByteCount - unpackedByteCount) left")
      }
      switch header.kind {
      case .data, .data2:
        guard header.valueCount <= chunk.valueCount - seen else {
          throw ParquetFault("its pages have more values than the \(chunk.valueCount) that the footer says")
        }
        nextHead = header
        return header
      case .dictionary: try loadDictionary(header)
      case .other: break
      }
      move(over: header)
    }
    return nil
  }

  private func readHead() throws -> PageHeader {
    var count = 1 << 10
    while true {
      let bytes = unsafe try window.upTo(count, at: offset)
      do { return try unsafe PageHeader(bytes) } catch ThriftFault.ended {
        guard bytes.count == count, count < PageHeader.maximumByteCount else {
          throw ParquetFault("its bytes end within the head of a page, after \(seen) of \(chunk.valueCount) values")
        }
        count *= 4
      } catch ThriftFault.malformed(let cause) {
        throw ParquetFault("the head of a page is damaged: \(cause)")
      }
    }
  }

  /// Passes over the page whose head was read.
  func pass(_ header: PageHeader) {
    move(over: header)
    seen += header.valueCount
    nextHead = nil
  }

  private func move(over header: PageHeader) {
    offset += header.byteCount + header.packedByteCount
    unpackedByteCount += header.unpackedByteCount
  }

  /// Goes to the page at a place of the index.
  func seek(to place: PageIndex.Place) throws {
    // The dictionary is before all of them.
    if dictionary == nil, seen == 0, nextHead == nil { _ = try head() }
    (offset, nextHead) = (place.offset, nil)
    // How many values were before it nobody says; rows are counted by who reads.
    (seen, unpackedByteCount, hasSought) = (0, 0, true)
  }

  /// Unpacks the page whose head was read, and begins it.
  ///
  /// - Parameter header: Its head.
  /// - Throws: ``ParquetFault`` for anything wrong in it; ``TarnError``.
  func load(_ header: PageHeader) throws {
    let packed = unsafe try packedBytes(header)
    var levels = unsafe (repetition: UnsafeRawBufferPointer(rebasing: packed[..<0]), definition: packed)
    unsafe levels.definition = levels.repetition
    var rest = unsafe packed
    switch header.kind {
    case .data2(_, let repetitionByteCount, let definitionByteCount, let isPacked):
      let levelByteCount = repetitionByteCount + definitionByteCount
      unsafe levels.repetition = UnsafeRawBufferPointer(rebasing: packed[..<repetitionByteCount])
      unsafe levels.definition = UnsafeRawBufferPointer(rebasing: packed[repetitionByteCount..<levelByteCount])
      unsafe rest = try unpacked(
        UnsafeRawBufferPointer(rebasing: packed[levelByteCount...]), header.unpackedByteCount - levelByteCount,
        isPacked ? chunk.compression : .none, into: body)
    default:
      unsafe rest = try unpacked(packed, header.unpackedByteCount, chunk.compression, into: body)
      unsafe levels.repetition = try cutLevels(&rest, column.maximumRepetition, header.repetitionEncoding)
      unsafe levels.definition = try cutLevels(&rest, column.maximumDefinition, header.definitionEncoding)
    }
    let values = try unsafe ValueDecoder(
      header.encoding, rest, of: column, dictionary: dictionary, atMost: header.valueCount)
    page = unsafe DataPage(
      column, count: header.valueCount, repetition: levels.repetition, definition: levels.definition, values: values)
    pass(header)
  }

  /// Takes the levels off the front of a page, which have their length before them.
  private func cutLevels(
    _ rest: inout UnsafeRawBufferPointer, _ most: Int, _ encoding: Int
  ) throws -> UnsafeRawBufferPointer {
    guard most > 0 else { return unsafe UnsafeRawBufferPointer(rebasing: rest[..<0]) }
    guard encoding == Encoding.runs.rawValue else {
      let name = Encoding(rawValue: encoding)?.name ?? "number \(encoding)"
      throw ParquetFault.refused("its encoding \(name) of levels", hint: "write it with a newer writer")
    }
    let count = unsafe rest.count >= 4 ? Int(rest.loadUnaligned(as: UInt32.self).littleEndian) : -1
    guard count >= 0, count <= rest.count - 4 else { throw ParquetFault("a page ends within its levels") }
    defer { unsafe rest = UnsafeRawBufferPointer(rebasing: rest[(4 + count)...]) }
    return unsafe UnsafeRawBufferPointer(rebasing: rest[4..<(4 + count)])
  }

  private func loadDictionary(_ header: PageHeader) throws {
    guard dictionary == nil else { throw ParquetFault("it has two dictionaries in a row group") }
    guard header.encoding == .plain || header.encoding == .plainDictionary else {
      throw ParquetFault.refused("its dictionary in encoding \(header.encoding.name)", hint: "write it with PLAIN")
    }
    let packed = unsafe try packedBytes(header)
    var bytes = unsafe try unpacked(packed, header.unpackedByteCount, chunk.compression, into: dictionaryBody)
    if chunk.compression == .none, let start = bytes.baseAddress {
      // Those of the window go with the next page.
      dictionaryBody.reserve(bytes.count)
      unsafe dictionaryBody.start.copyMemory(from: start, byteCount: bytes.count)
      unsafe bytes = UnsafeRawBufferPointer(start: dictionaryBody.start, count: bytes.count)
    }
    dictionary = try unsafe ValueDictionary(bytes, count: header.valueCount, of: column)
  }

  /// The bytes of a page as they are in the file, with the checksum that they have
  /// to have.
  private func packedBytes(_ header: PageHeader) throws -> UnsafeRawBufferPointer {
    let bytes = unsafe try window.bytes(at: offset + header.byteCount, count: header.packedByteCount)
    if let crc32 = header.crc32 {
      guard unsafe cparquet_crc32(bytes.baseAddress, bytes.count) == crc32 else {
        throw ParquetFault("a page is damaged: wrong CRC", hint: "fetch the file again")
      }
    }
    return unsafe bytes
  }

  private func unpacked(
    _ packed: UnsafeRawBufferPointer, _ count: Int, _ compression: Compression, into store: ByteStore
  ) throws -> UnsafeRawBufferPointer {
    if compression == .none || (packed.count) + count == 0 {
      guard packed.count == count else {
        throw ParquetFault("a page has \(packed.count) bytes where its head says \(count)")
      }
      return unsafe packed
    }
    store.reserve(count)
    let status =
      switch compression {
      case .snappy: unsafe cparquet_unsnappy(packed.baseAddress, packed.count, store.start, count)
      case .gzip: unsafe cparquet_ungzip(packed.baseAddress, packed.count, store.start, count)
      default: unsafe cparquet_unzstd(packed.baseAddress, packed.count, store.start, count)
      }
    guard status == 0 else {
      throw ParquetFault(
        "a page does not unpack into the \(count) bytes that its head says", hint: "fetch the file again")
    }
    return unsafe UnsafeRawBufferPointer(start: store.start, count: count)
  }
}
