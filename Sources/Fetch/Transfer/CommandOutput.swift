// What a command wrote, taken as a shard's part file where it lies: read once, to be
// hashed and checked like any other, and written nowhere.

internal import Base
internal import Glibc

/// The taking of a command's output.
enum CommandOutput {
  /// Makes a file the part file and reads it; on the disk queue.
  ///
  /// - Parameters:
  ///   - path: The file, on the part file's file system.
  ///   - byteCount: Its size.
  ///   - part: What it becomes.
  ///   - source: Whose it is, in the resume point's terms.
  ///   - expectedByteCount: The size it must have, if known.
  ///   - isStopped: Asked now and then; true ends the reading.
  /// - Throws: ``TarnError`` `.integrity` if it cannot be the shard.
  static func take(
    _ path: String, _ byteCount: Int, into part: PartFile, source: ContentDigest, expectedByteCount: Int?,
    isStopped: () -> Bool
  ) throws(TarnError) {
    if let expectedByteCount, byteCount != expectedByteCount {
      throw TarnError(.integrity, "the command wrote \(byteCount) bytes where the shard has \(expectedByteCount)")
    }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Disk.systemError("open", path) }
    defer { close(descriptor) }
    part.takeOver(
      path, BodyPromise(bodyByteCount: nil, totalByteCount: byteCount, validator: EntityValidator()), from: source)
    let offset = try LocalCopy.pour(descriptor, path, into: part, from: 0, isStopped: isStopped)
    guard part.isWhole else {
      let cause =
        part.head == nil
        ? "\(offset) bytes are too few for a feature file" : "it ends after \(offset) of \(part.wholeText) bytes"
      throw TarnError(.integrity, "what the command wrote is no shard: \(cause)")
    }
  }
}
