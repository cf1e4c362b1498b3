// A durable file written through a buffer: little-endian values, arrays and
// byte runs, in order.

internal import Catalog

/// Appends to a ``Catalog/DurableFile`` a mebibyte at a time.
///
/// Dropped unfinished, it leaves nothing.
struct FileWriter: ~Copyable {
  private var file: DurableFile
  private var buffer: [UInt8] = []
  private static let bufferByteCount = 1 << 20

  /// Bytes appended so far.
  var byteCount: Int { file.byteCount + buffer.count }

  /// Creates the temporary file.
  init(creating temporaryPath: String) throws {
    file = try DurableFile(creating: temporaryPath)
    buffer.reserveCapacity(Self.bufferByteCount)
  }

  mutating func append(_ bytes: RawSpan) throws {
    if bytes.byteCount >= Self.bufferByteCount {
      try flush()
      try file.write(bytes)
      return
    }
    if buffer.count + bytes.byteCount > Self.bufferByteCount { try flush() }
    unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
  }

  mutating func append(_ bytes: [UInt8]) throws { try unsafe append(bytes.span.bytes) }

  /// Makes everything durable and moves the file into place.
  ///
  /// - Parameter path: The final name.
  /// - Returns: The SHA-256 of all bytes, and how many.
  /// - Throws: ``Catalog/CatalogError`` when the disk refuses.
  consuming func finish(as path: String) throws -> (digest: ContentDigest, byteCount: Int) {
    try flush()
    let byteCount = file.byteCount
    return (try file.finish(as: path), byteCount)
  }

  private mutating func flush() throws {
    guard !buffer.isEmpty else { return }
    var pending: [UInt8] = []
    swap(&pending, &buffer)
    try unsafe file.write(pending.span.bytes)
    pending.removeAll(keepingCapacity: true)
    swap(&pending, &buffer)
  }
}

/// Little-endian bytes put together in memory.
struct ByteBuilder {
  private(set) var bytes: [UInt8] = []

  mutating func append(_ value: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func append(_ value: Float) { append(value.bitPattern) }

  mutating func append(_ text: StaticString) {
    text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func append(contentsOf more: [UInt8]) { bytes += more }

  mutating func append(contentsOf values: [Float]) {
    unsafe values.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func append(contentsOf values: [UInt64]) {
    unsafe values.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }
}
