// The contents of one entry of a zip archive, front to back: inflated where they are
// deflated, held against the size and the checksum that the directory says.

internal import Base
internal import CZip

/// Reads an entry once.
///
/// Belongs to one thread.
@safe final class ZipEntryReader: RowDecoder {
  private let file: UntrustedFile
  private let entry: ZipDirectory.Entry
  private let stream: OpaquePointer?
  /// What of the entry is in memory and not inflated yet.
  private var input: [UInt8] = []
  private var inputPosition = 0
  /// Bytes of the entry that were read from the file.
  private var takenByteCount = 0
  /// Bytes that were given.
  private var givenByteCount = 0
  private var sum: UInt32 = 0
  private var hasEnded = false

  private static let pieceByteCount = 256 << 10

  /// Begins before the first byte.
  ///
  /// - Parameters:
  ///   - file: The archive.
  ///   - entry: One of its entries, stored or deflated.
  /// - Throws: ``TarnError`` `.io` where there is no memory.
  init(_ file: UntrustedFile, _ entry: ZipDirectory.Entry) throws {
    (self.file, self.entry) = (file, entry)
    guard entry.method == .deflated else {
      unsafe stream = nil
      return
    }
    guard let begun = unsafe czip_begin() else { throw TarnError(.io, "there is no memory to inflate \(file.path)") }
    unsafe stream = begun
  }

  deinit { if let stream = unsafe stream { unsafe czip_end(stream) } }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    guard output.count <= leftByteCount else {
      throw FeatureFault("it has \(entry.byteCount) bytes, and more are needed")
    }
    if unsafe stream == nil {
      try unsafe file.read(into: output, at: entry.dataOffset + givenByteCount)
    } else {
      guard try unsafe inflate(into: output) == output.count else {
        throw FeatureFault("it unfolds to fewer bytes than the \(entry.byteCount) that its archive says")
      }
    }
    sum = unsafe czip_crc32(sum, output.baseAddress, output.count)
    givenByteCount += output.count
  }

  func finish() throws {
    precondition(givenByteCount == entry.byteCount, "bytes are left")
    if unsafe stream != nil {
      var more: UInt8 = 0
      let count = try unsafe withUnsafeMutableBytes(of: &more) { try unsafe inflate(into: $0) }
      guard count == 0 else {
        throw FeatureFault("it unfolds to more bytes than the \(entry.byteCount) that its archive says")
      }
      guard hasEnded, takenByteCount == entry.packedByteCount, inputPosition == input.count else {
        throw FeatureFault("it has bytes behind its end")
      }
    }
    guard sum == entry.crc32 else {
      throw FeatureFault("it is damaged: its CRC is not the one that its archive says", hint: "fetch it again")
    }
  }

  /// Inflates what fits.
  ///
  /// - Returns: Bytes; fewer than there is room for where the stream ends.
  private func inflate(into output: UnsafeMutableRawBufferPointer) throws -> Int {
    var left = output.count
    while left > 0, !hasEnded {
      if inputPosition == input.count {
        let count = min(Self.pieceByteCount, entry.packedByteCount - takenByteCount)
        guard count > 0 else { throw FeatureFault("its packed bytes end too early") }
        input = try file.bytes(at: entry.dataOffset + takenByteCount, count: count, "its packed bytes")
        (takenByteCount, inputPosition) = (takenByteCount + count, 0)
      }
      var rest = input.count - inputPosition
      let status = unsafe input.withUnsafeBytes { bytes in
        unsafe czip_inflate(
          stream, bytes.baseAddress.map { unsafe $0 + inputPosition }, &rest,
          output.baseAddress.map { unsafe $0 + (output.count - left) }, &left)
      }
      inputPosition = input.count - rest
      guard status != CZIP_DAMAGED else { throw FeatureFault("its packed bytes are damaged", hint: "fetch it again") }
      hasEnded = status == CZIP_ENDED
    }
    return output.count - left
  }

  /// Reads the first bytes.
  func start(_ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withUnsafeMutableBytes { try unsafe read(into: $0) }
    return bytes
  }

  /// Bytes that were not given yet.
  var leftByteCount: Int { entry.byteCount - givenByteCount }

  /// Passes over bytes, a piece at a time.
  func pass(_ count: Int) throws {
    for first in stride(from: 0, to: count, by: Self.pieceByteCount) {
      _ = try start(min(Self.pieceByteCount, count - first))
    }
  }
}
