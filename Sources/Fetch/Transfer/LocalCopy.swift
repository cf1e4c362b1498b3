// A shard that is a file on this machine: read through the same part file, so
// that it is hashed, checked and moved into place like any other.

internal import Base
internal import Glibc

/// The copy of a `file://` shard.
enum LocalCopy {
  /// What reading told of the file.
  enum Outcome: Sendable {
    case copied
    case unchanged
  }

  /// Copies a file into a part file, from where the part file stands if the
  /// file is still the one it came from.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - part: Where the bytes go.
  ///   - source: Who is asked, in the resume point's terms.
  ///   - condition: The validator of the revision held.
  ///   - expectedByteCount: The size it must have, if known.
  ///   - pace: How fast it may go.
  ///   - isStopped: Asked now and then; true ends the copy.
  ///   - onProgress: Told the bytes held, now and then.
  /// - Returns: Whether there was something to copy.
  /// - Throws: ``TarnError``: `.absent`, `.refused`, `.integrity`,
  ///   `.interrupted`, `.diskFull` or `.io`.
  static func run(
    from path: String, into part: PartFile, source: ContentDigest, condition: EntityValidator?,
    expectedByteCount: Int?, pace: CopyPace, isStopped: () -> Bool, onProgress: (Int) -> Void
  ) throws(TarnError) -> Outcome {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw openError(path) }
    defer { close(descriptor) }
    var info = stat()
    guard unsafe fstat(descriptor, &info) == 0 else { throw Disk.systemError("examine", path) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw TarnError(.integrity, "it is not a regular file") }
    let byteCount = Int(info.st_size)
    // A change of the file shows in size or time; the inode tells a replaced one.
    let validator = EntityValidator(
      etag: "\"\(info.st_ino)-\(byteCount)-\(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)\"")
    if let condition, condition.etag == validator.etag { return .unchanged }
    if let expectedByteCount, byteCount != expectedByteCount {
      throw TarnError(.integrity, "\(byteCount) bytes where the file has \(expectedByteCount)")
    }
    let continues = part.source == source && part.validator == validator && part.head != nil
    part.accept(
      BodyPromise(bodyByteCount: nil, totalByteCount: byteCount, validator: validator), from: source,
      startingOver: !continues)
    let offset = try pour(
      descriptor, path, into: part, from: part.byteCount, pace: pace, isStopped: isStopped, onProgress: onProgress)
    guard part.isWhole else {
      throw TarnError(
        .integrity, "it ends after \(offset) of \(part.wholeText) bytes")
    }
    return .copied
  }

  /// Reads a file to its end into a part file.
  ///
  /// - Parameters:
  ///   - descriptor: The file, open for reading.
  ///   - path: Its name, for messages.
  ///   - part: Where the bytes go.
  ///   - start: Where to begin.
  ///   - pace: How fast it may go; nil for as fast as it can.
  ///   - isStopped: Asked before each piece; true ends the reading.
  ///   - onProgress: Told after each piece how far it is.
  /// - Returns: Where the file ends.
  /// - Throws: ``TarnError`` `.interrupted`, `.io`; what the part file refuses.
  static func pour(
    _ descriptor: Int32, _ path: String, into part: PartFile, from start: Int, pace: CopyPace? = nil,
    isStopped: () -> Bool, onProgress: (Int) -> Void = { _ in }
  ) throws(TarnError) -> Int {
    _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    var piece = [UInt8](repeating: 0, count: Block.capacity)
    var offset = start
    while true {
      if isStopped() { throw TarnError(.interrupted, "stopped") }
      let wanted = pace?.pieceByteCount(atMost: piece.count) ?? piece.count
      let count = unsafe pread(descriptor, &piece, wanted, off_t(offset))
      if count < 0 {
        if errno == EINTR { continue }
        throw Disk.systemError("read", path)
      }
      if count == 0 { return offset }
      pace?.take(count, unless: isStopped)
      unsafe try part.receive(piece.span.bytes.extracting(first: count))
      offset += count
      onProgress(offset)
    }
  }

  private static func openError(_ path: String) -> TarnError {
    let number = errno
    switch number {
    case ENOENT, ENOTDIR: return TarnError(.absent, "no such file")
    case EACCES, EPERM: return TarnError(.refused, "the file may not be read by this user")
    default: return Disk.systemError(number, "open", path)
    }
  }
}
