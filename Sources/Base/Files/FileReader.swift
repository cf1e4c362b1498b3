// Reading files that may be hostile: positioned reads that answer with an
// error where a mapping would answer with SIGBUS, and a cursor that checks
// every length against the file before anything is allocated.

internal import Glibc

/// An open regular file, read at given offsets.
///
/// Immutable after its init, and `pread` keeps no position, so threads may
/// share it.
package final class InputFile: Sendable {
  package let path: String
  /// Bytes in the file when it was opened.
  package let byteCount: Int
  /// -1 for a file that others give.
  private let descriptor: Int32
  private let others: Reading?

  /// Fills bytes from an offset, all of them, within the file.
  package typealias Reading = @Sendable (_ bytes: UnsafeMutableRawBufferPointer, _ offset: Int) throws -> Void

  /// A file whose bytes others give, as a server does.
  ///
  /// - Parameters:
  ///   - name: What messages call it.
  ///   - byteCount: Its length.
  ///   - read: Gives its bytes.
  package init(named name: String, byteCount: Int, read: @escaping Reading) {
    (path, descriptor, others) = (name, -1, read)
    self.byteCount = byteCount
  }

  /// Opens a regular file.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``TarnError`` `.inputsMissing` when there is none, `.io`
  ///   when it cannot be opened or is not a regular file.
  package init(path: String) throws {
    (descriptor, byteCount) = try Disk.openInput(path)
    others = nil
    self.path = path
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Reads exactly `count` bytes at `offset` into the front of `buffer`.
  ///
  /// - Parameters:
  ///   - buffer: At least `count` bytes.
  ///   - offset: Where to start in the file.
  ///   - count: How many bytes.
  /// - Throws: ``TarnError`` `.integrity` past the end, `.io` when reading
  ///   fails.
  package func read(into buffer: inout [UInt8], at offset: Int, count: Int) throws {
    precondition(count <= buffer.count && offset >= 0)
    try unsafe buffer.withUnsafeMutableBytes { bytes in
      try unsafe read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: offset)
    }
  }

  /// Exactly `count` bytes at `offset`; errors as ``read(into:at:count:)``.
  package func bytes(at offset: Int, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try read(into: &bytes, at: offset, count: count)
    return bytes
  }

  /// Fills `bytes` from `offset`; errors as ``read(into:at:count:)``.
  package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    if let others {
      guard offset <= byteCount, bytes.count <= byteCount - offset else {
        throw TarnError(.integrity, "\(path) ends before byte \(byteCount + 1)")
      }
      return try unsafe others(bytes, offset)
    }
    var done = 0
    while done < bytes.count {
      let got = unsafe pread(
        descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done, off_t(offset + done))
      if got < 0 {
        if errno == EINTR { continue }
        throw Disk.systemError("read", path)
      }
      guard got > 0 else { throw TarnError(.integrity, "\(path) ends before byte \(offset + done + 1)") }
      done += got
    }
  }

  /// The SHA-256 of all bytes, read in order from what was opened: whatever has the name meanwhile is not looked at.
  ///
  /// - Throws: ``TarnError`` `.integrity` when it became shorter, `.io` when reading fails.
  package func digest() throws -> ContentDigest {
    if descriptor >= 0 { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL) }
    var hasher = Sha256()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    for offset in stride(from: 0, to: byteCount, by: buffer.count) {
      let count = min(buffer.count, byteCount - offset)
      try read(into: &buffer, at: offset, count: count)
      hasher.update(buffer.span.bytes.extracting(first: count))
    }
    return hasher.finalize()
  }

  /// Whether the file ends where it did when it was opened.
  ///
  /// - Throws: ``TarnError`` `.io` when it cannot be asked.
  package func endsStill() throws -> Bool {
    guard others == nil else { return true }
    var info = stat()
    guard unsafe fstat(descriptor, &info) == 0 else { throw Disk.systemError("examine", path) }
    return Int(info.st_size) == byteCount
  }

  /// Tells the kernel that these bytes are read next; it begins at once.
  package func expectRead(from offset: Int, count: Int) {
    guard count > 0, descriptor >= 0 else { return }
    _ = posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_WILLNEED)
  }

  /// Tells the kernel that these bytes are not needed again.
  package func forget(from offset: Int, count: Int) {
    if descriptor >= 0 { _ = posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_DONTNEED) }
  }
}

/// A position in a file, moved by reads of little-endian values.
package struct FileCursor {
  package let file: InputFile
  /// What the file should be, for messages: "trained index", "segment".
  package let kind: String
  /// What helps where it is not that.
  private let hint: String
  package private(set) var offset = 0

  /// Starts at a file's first byte.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - kind: What it should be, for messages.
  ///   - hint: What helps where it is not: of most files a lake has what they are made from.
  package init(_ file: InputFile, kind: String, hint: String = "run `tarn verify --repair`") {
    self.file = file
    self.kind = kind
    self.hint = hint
  }

  package var remaining: Int { file.byteCount - offset }

  /// The error that the file is not what it should be.
  package func malformed(_ cause: String) -> TarnError {
    TarnError(.integrity, "\(file.path) is not a good \(kind): \(cause)", hint: hint)
  }

  /// The next `count` bytes.
  package mutating func bytes(_ count: Int, _ what: String) throws -> [UInt8] {
    guard count >= 0, count <= remaining else {
      throw malformed("it ends at byte \(file.byteCount), within \(what)")
    }
    var buffer = [UInt8](repeating: 0, count: count)
    try file.read(into: &buffer, at: offset, count: count)
    offset += count
    return buffer
  }

  package mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type, _ what: String) throws -> Value {
    try bytes(MemoryLayout<Value>.size, what).reversed().reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
  }

  package mutating func float(_ what: String) throws -> Float { Float(bitPattern: try integer(UInt32.self, what)) }

  /// An unsigned 64-bit size, which must be in `range`.
  package mutating func size(_ what: String, in range: ClosedRange<Int>) throws -> Int {
    let value = try integer(UInt64.self, what)
    guard let size = Int(exactly: value), range.contains(size) else {
      throw malformed("\(what) is \(value), not in \(range.lowerBound)...\(range.upperBound)")
    }
    return size
  }

  /// Bytes that must stand here.
  package mutating func expect(_ expected: [UInt8], _ what: String) throws {
    guard try bytes(expected.count, what) == expected else {
      throw malformed("unexpected \(what) at byte \(offset - expected.count)")
    }
  }

  package mutating func expect(_ expected: some FixedWidthInteger, _ what: String) throws {
    var builder = ByteBuilder()
    builder.append(expected)
    try expect(builder.bytes, what)
  }

  package mutating func floats(_ count: Int, _ what: String) throws -> [Float] {
    try values(count, what, zero: Float(0))
  }

  package mutating func integers64(_ count: Int, _ what: String) throws -> [UInt64] {
    try values(count, what, zero: UInt64(0))
  }

  /// `count` numbers; the length is checked before memory is taken.
  private mutating func values<Value: BitwiseCopyable>(_ count: Int, _ what: String, zero: Value) throws -> [Value] {
    let width = MemoryLayout<Value>.size
    guard count >= 0, count <= remaining / width else {
      throw malformed("it ends at byte \(file.byteCount), within \(what)")
    }
    var values = [Value](repeating: zero, count: count)
    try unsafe values.withUnsafeMutableBytes { unsafe try file.read(into: $0, at: offset) }
    offset += count * width
    return values
  }

  /// Passes over numbers whose bytes must be those of `expected` in some
  /// ranges; the others are not read.
  package mutating func require(
    _ expected: [Float], at ranges: [Range<Int>], _ what: String, orThrow difference: () -> TarnError
  ) throws {
    guard 4 * expected.count <= remaining else {
      throw malformed("it ends at byte \(file.byteCount), within \(what)")
    }
    for range in ranges {
      var buffer = [UInt8](repeating: 0, count: range.count)
      try file.read(into: &buffer, at: offset + range.lowerBound, count: range.count)
      let isSame = unsafe expected.withUnsafeBytes { unsafe buffer.elementsEqual($0[range]) }
      guard isSame else { throw difference() }
    }
    offset += 4 * expected.count
  }

  package mutating func skip(_ count: Int) { offset += count }
}
