// What stands before each page: its kind, lengths and encodings. All of it is held
// against the chunk before a byte of memory is taken for the page.

internal import Base

/// How the values of a page are written.
enum Encoding: Int, Sendable {
  case plain = 0
  case plainDictionary = 2
  case runs, bitPacked, deltaBinaryPacked, deltaLengthByteArray, deltaByteArray, dictionary, streamSplit

  /// What the format's documents call it.
  var name: String {
    switch self {
    case .plain: "PLAIN"
    case .plainDictionary: "PLAIN_DICTIONARY"
    case .runs: "RLE"
    case .bitPacked: "BIT_PACKED"
    case .deltaBinaryPacked: "DELTA_BINARY_PACKED"
    case .deltaLengthByteArray: "DELTA_LENGTH_BYTE_ARRAY"
    case .deltaByteArray: "DELTA_BYTE_ARRAY"
    case .dictionary: "RLE_DICTIONARY"
    case .streamSplit: "BYTE_STREAM_SPLIT"
    }
  }
}

/// The head of a page.
struct PageHeader {
  /// What the page is, with what only such a page has.
  enum Kind {
    case dictionary
    /// Levels are packed with the values, and each list of them has its length before it.
    case data
    /// Levels come first and are never packed.
    case data2(rowCount: Int, repetitionByteCount: Int, definitionByteCount: Int, isPacked: Bool)
    /// Of no use here.
    case other
  }

  private(set) var kind = Kind.other
  private(set) var packedByteCount = -1
  private(set) var unpackedByteCount = -1
  private(set) var crc32: UInt32?
  /// Values and nulls; of a dictionary its entries.
  private(set) var valueCount = 0
  private(set) var encoding = Encoding.plain
  /// How levels are written, which matters where there are any.
  private(set) var (definitionEncoding, repetitionEncoding) = (Encoding.runs.rawValue, Encoding.runs.rawValue)
  /// Bytes of the head itself.
  private(set) var byteCount = 0

  /// The most bytes of a head that are looked at: it may hold a longest and a
  /// shortest value.
  static let maximumByteCount = 16 << 20
  /// The most bytes of a page, packed or not; writers make pages of about a MiB.
  static let maximumPageByteCount = 256 << 20

  /// Reads a head.
  ///
  /// - Parameter bytes: From its start on, as many as there are.
  /// - Throws: ``ThriftFault``; ``ParquetFault`` for what no page has.
  init(_ bytes: UnsafeRawBufferPointer) throws {
    var reader = unsafe ThriftReader(bytes)
    var (last, type) = (0, -1)
    var hasOwn = false
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1: type = try reader.integer(field.kind)
      case 2: unpackedByteCount = try reader.integer(field.kind)
      case 3: packedByteCount = try reader.integer(field.kind)
      case 4: crc32 = UInt32(truncatingIfNeeded: try reader.integer(field.kind))
      case 5, 7, 8:
        try ThriftReader.structure(field.kind)
        guard field.id == (type == 0 ? 5 : type == 2 ? 7 : type == 3 ? 8 : 0), !hasOwn else {
          throw ParquetFault("a page has the head of another kind")
        }
        hasOwn = true
        try readOwn(&reader, type)
      default: try reader.skip(field.kind)
      }
    }
    guard hasOwn || type == 1 else { throw ParquetFault("a page has no kind that there is") }
    guard (0...Self.maximumPageByteCount).contains(packedByteCount),
      (0...Self.maximumPageByteCount).contains(unpackedByteCount)
    else {
      throw ParquetFault(
        "a page has \(packedByteCount) bytes and \(unpackedByteCount) unpacked; tarn reads up to "
          + "\(Self.maximumPageByteCount)", hint: "write it with pages of a MiB")
    }
    guard (0...Int(Int32.max)).contains(valueCount) else { throw ParquetFault("a page says \(valueCount) values") }
    if case .data2(let rows, let repetition, let definition, _) = kind {
      guard rows >= 0, repetition >= 0, definition >= 0, repetition <= min(packedByteCount, unpackedByteCount),
        definition <= min(packedByteCount, unpackedByteCount) - repetition
      else { throw ParquetFault("the levels of a page are longer than the page") }
    }
    byteCount = reader.position
  }

  /// Reads what only a page of this kind has.
  private mutating func readOwn(_ reader: inout ThriftReader, _ type: Int) throws {
    var (last, coding) = (0, 0)
    var (rows, definition, repetition, isPacked) = (0, 0, 0, true)
    valueCount = -1
    while let field = try reader.field(after: &last) {
      switch (type, field.id) {
      case (_, 1): valueCount = try reader.integer(field.kind)
      case (0, 2), (2, 2), (3, 4): coding = try reader.integer(field.kind)
      case (0, 3): definitionEncoding = try reader.integer(field.kind)
      case (0, 4): repetitionEncoding = try reader.integer(field.kind)
      case (3, 3): rows = try reader.integer(field.kind)
      case (3, 5): definition = try reader.integer(field.kind)
      case (3, 6): repetition = try reader.integer(field.kind)
      case (3, 7): isPacked = try ThriftReader.bool(field.kind)
      default: try reader.skip(field.kind)
      }
    }
    guard let encoding = Encoding(rawValue: coding) else {
      throw ParquetFault.refused("its encoding number \(coding)", hint: "write it with PLAIN or a dictionary")
    }
    self.encoding = encoding
    switch type {
    case 2: kind = .dictionary
    case 3:
      kind = .data2(
        rowCount: rows, repetitionByteCount: repetition, definitionByteCount: definition, isPacked: isPacked)
    default: kind = .data
    }
  }
}
