// A file on its way to its final name: whole and durable there, or not at all (invariant 1).

internal import Foundation
internal import Glibc

/// A file being written, in order, from its first byte to its last.
///
/// It appears under its final name only whole and durable. Dropped unfinished,
/// it leaves nothing.
package struct DurableFile: ~Copyable {
  /// How the bytes travel.
  package enum Mode: Sendable {
    /// Through the page cache; hashed as they are written.
    case hashed
    /// Straight to the disk where the file system can, so that the last fsync
    /// finds nothing left to write; hashed by the caller. For large files
    /// written in large pieces.
    case streamed
  }

  /// Where the bytes are until ``finish(as:)``.
  package let temporaryPath: String
  private let descriptor: Int32
  private let mode: Mode
  private var isDirect = false
  private var hasher = Sha256()
  private var isInPlace = false
  /// Bytes written so far.
  package private(set) var byteCount = 0

  /// What memory, offset and length of a write past the page cache must be
  /// multiples of; enough for every disk in use.
  package static let alignment = 4096

  /// Creates the temporary file; a leftover of that name goes first.
  package init(creating temporaryPath: String, mode: Mode = .hashed) throws {
    try FaultPlan.step("create", temporaryPath)
    // Never written over: it may be another name of a file that is in place.
    unlink(temporaryPath)
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    var opened: Int32 = -1
    if mode == .streamed {
      opened = open(temporaryPath, flags | directFlag, 0o666)
      isDirect = opened >= 0
    }
    if opened < 0 {
      // A file system that cannot write past the page cache refuses the flag, if
      // after it has made the file.
      unlink(temporaryPath)
      opened = open(temporaryPath, flags, 0o666)
    }
    guard opened >= 0 else { throw Disk.systemError("create", temporaryPath) }
    descriptor = opened
    self.mode = mode
    self.temporaryPath = temporaryPath
  }

  /// Appends bytes, and adds them to the digest when it is kept here.
  package mutating func write(_ bytes: RawSpan) throws {
    try FaultPlan.step("write", temporaryPath)
    try bytes.withUnsafeBytes { try writeAll($0) }
    if mode == .hashed { hasher.update(bytes) }
  }

  /// Writes over bytes in the middle of a streamed file, which its end alone told.
  ///
  /// - Parameters:
  ///   - bytes: The bytes.
  ///   - offset: Where they go; all were written before.
  /// - Throws: ``TarnError`` when the disk refuses.
  package mutating func amend(_ bytes: [UInt8], at offset: Int) throws {
    precondition(mode == .streamed && offset + bytes.count <= byteCount, "nothing was written there")
    leaveDirect()
    try Disk.write(bytes.span.bytes, to: descriptor, at: offset, named: temporaryPath)
  }

  private mutating func writeAll(_ bytes: UnsafeRawBufferPointer) throws {
    let start = byteCount
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = UnsafeRawBufferPointer(rebasing: rest)
      if isDirect, !isAligned(piece) { leaveDirect() }
      let count = Glibc.write(descriptor, piece.baseAddress, piece.count)
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EINVAL, isDirect {
          leaveDirect()
          continue
        }
        throw Disk.systemError("write", temporaryPath)
      }
      rest = rest.dropFirst(count)
      byteCount += count
    }
    // On Linux this starts to write pages that are dirty: early, not in fsync.
    if mode == .streamed, !isDirect {
      _ = posix_fadvise(descriptor, off_t(start), off_t(byteCount - start), POSIX_FADV_DONTNEED)
    }
  }

  /// Whether these bytes can go past the page cache.
  private func isAligned(_ bytes: UnsafeRawBufferPointer) -> Bool {
    (UInt(bitPattern: bytes.baseAddress) | UInt(bytes.count) | UInt(byteCount)) % UInt(Self.alignment) == 0
  }

  /// Sends what follows through the page cache: the odd end of a file.
  private mutating func leaveDirect() {
    isDirect = false
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~directFlag)
  }

  /// As ``finish(as:)``, for a streamed file: its digest is the caller's.
  package consuming func finishStreamed(as path: String) throws {
    precondition(mode == .streamed, "the digest is kept here")
    try sync()
    try Disk.moveIntoPlace(temporaryPath, path)
    isInPlace = true
  }

  /// Makes the bytes durable, moves the file to `path`, makes the move durable.
  ///
  /// - Returns: The SHA-256 of everything written.
  @discardableResult
  package consuming func finish(as path: String) throws -> ContentDigest {
    try finish { _ in path }
  }

  /// As ``finish(as:)``, for a name that depends on the digest.
  @discardableResult
  package consuming func finish(named name: (ContentDigest) throws -> String) throws -> ContentDigest {
    precondition(mode == .hashed, "a streamed file has no digest here")
    try sync()
    let digest = takeDigest()
    let path = try name(digest)
    try Disk.moveIntoPlace(temporaryPath, path)
    isInPlace = true
    return digest
  }

  /// As ``finish(as:)``, for a name that nothing has yet.
  ///
  /// - Throws: ``TarnError`` `.conflict` when there is something of that name.
  package consuming func finish(asNew path: String) throws {
    try sync()
    try Disk.moveIntoFreePlace(temporaryPath, path)
    isInPlace = true
  }

  private func sync() throws {
    try FaultPlan.step("fsync", temporaryPath)
    guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", temporaryPath) }
  }

  private mutating func takeDigest() -> ContentDigest {
    var fresh = Sha256()
    swap(&fresh, &hasher)
    return fresh.finalize()
  }

  deinit {
    close(descriptor)
    if !isInPlace { unlink(temporaryPath) }
  }
}

/// `O_DIRECT`, which Glibc's headers show only with `_GNU_SOURCE`.
#if arch(x86_64)
  private let directFlag: Int32 = 0o40000
#elseif arch(arm64)
  private let directFlag: Int32 = 0o200000
#else
  private let directFlag: Int32 = 0
#endif
