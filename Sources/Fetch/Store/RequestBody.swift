// What a request sends: bytes in memory, or a piece of a file that is read while
// it is sent.

internal import Base
internal import Glibc

/// The body of a request, from its first byte as often as libcurl asks.
///
/// Lives on its loop's thread.
final class RequestBody {
  private enum Origin {
    case memory([UInt8])
    /// A descriptor that somebody else closes, and where the piece begins.
    case file(Int32, offset: Int)
  }

  private let origin: Origin
  let byteCount: Int
  /// Bytes that were handed out since the start.
  private(set) var sentByteCount = 0
  /// Why the file could not be read.
  private(set) var failure: TarnError?

  /// Whether all of it is out.
  var isSpent: Bool { sentByteCount >= byteCount }

  init(_ bytes: [UInt8]) {
    origin = .memory(bytes)
    byteCount = bytes.count
  }

  /// A piece of an open file.
  init(of descriptor: Int32, _ range: Range<Int>) {
    origin = .file(descriptor, offset: range.lowerBound)
    byteCount = range.count
  }

  /// Goes back, or on, to a byte.
  func seek(to offset: Int) { sentByteCount = min(max(0, offset), byteCount) }

  /// Fills a buffer with the next bytes.
  ///
  /// - Returns: How many, 0 at the end; nil when they cannot be read.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    let count = min(buffer.count, byteCount - sentByteCount)
    guard count > 0 else { return 0 }
    switch origin {
    case .memory(let bytes):
      unsafe buffer.copyBytes(from: bytes[sentByteCount..<sentByteCount + count])
      sentByteCount += count
      return count
    case .file(let descriptor, let offset):
      while true {
        let read = unsafe pread(descriptor, buffer.baseAddress, count, off_t(offset + sentByteCount))
        if read < 0, errno == EINTR { continue }
        guard read > 0 else {
          failure =
            read < 0
            ? Disk.systemError("read", "what is sent") : TarnError(.io, "a file became shorter while it was sent")
          return nil
        }
        sentByteCount += read
        return read
      }
    }
  }
}
