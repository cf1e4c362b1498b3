// A large file on its way to the disk: one thread fills, one hashes, one
// writes (BufferRing), so that none waits for another's work.

internal import Base

/// Appends to a ``Base/DurableFile`` through a ring of buffers.
///
/// Dropped unfinished, it leaves neither a file nor a thread.
@safe final class FileWriter {
  private let destination: Destination
  private let digester: FileDigester
  private let ring: BufferRing
  /// The buffer being filled, none at first.
  private var buffer: UnsafeMutableRawBufferPointer
  /// Bytes in ``buffer``.
  private var filled = 0
  private var submittedByteCount = 0

  /// The file, where the writing stage finds it.
  ///
  /// `@unchecked Sendable`: `file` belongs to the writing stage until the ring
  /// is closed, then to the writer.
  private final class Destination: @unchecked Sendable {
    var file: DurableFile?

    init(creating temporaryPath: String) throws {
      file = try DurableFile(creating: temporaryPath, mode: .streamed)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws { try unsafe file?.write(bytes.bytes) }
  }

  /// Bytes appended so far.
  var byteCount: Int { submittedByteCount + filled }

  /// Creates the temporary file.
  init(creating temporaryPath: String, buffers: BufferPlan = BufferPlan()) throws {
    let (destination, digester) = (try Destination(creating: temporaryPath), FileDigester())
    self.destination = destination
    self.digester = digester
    unsafe buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    do {
      ring = try unsafe BufferRing(
        buffers,
        stages: [
          ("tarn-write", { try unsafe destination.write($0) }),
          ("tarn-hash", { unsafe digester.add($0) }),
        ])
    } catch {
      // A stage that was begun may still be ending, and it has the file, too.
      destination.file = nil
      throw error
    }
  }

  deinit {
    ring.close()
    destination.file = nil
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws {
    var position = 0
    while position < bytes.count {
      if unsafe filled == buffer.count { try nextBuffer() }
      let count = unsafe min(bytes.count - position, buffer.count - filled)
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[position..<(position + count)]))
      filled += count
      position += count
    }
  }

  /// Appends numbers as they lie in memory.
  func append<Value: BitwiseCopyable>(_ values: [Value]) throws {
    try unsafe values.withUnsafeBytes { try unsafe append($0) }
  }

  /// Says that lists come next, so that each gets a digest.
  func beginLists(_ section: ListSection) throws {
    // The hashing stage must not look while the section is put in place.
    try ring.drain()
    digester.expect(section, at: byteCount)
  }

  /// Waits for the digests of the lists, of which all bytes were appended.
  ///
  /// - Returns: The digest of each list.
  /// - Throws: What writing threw.
  func finishLists() throws -> ListDigests {
    submitFilled()
    try ring.drain()
    return digester.finishLists()
  }

  /// Makes everything durable and moves the file into place; ends the writer.
  ///
  /// - Parameter path: The final name.
  /// - Returns: The SHA-256 of all bytes, and how many.
  /// - Throws: ``TarnError`` when the disk refuses.
  func finish(as path: String) throws -> (digest: ContentDigest, byteCount: Int) {
    submitFilled()
    try ring.finish()
    guard let file = destination.file.take() else { preconditionFailure("a writer was finished twice") }
    let byteCount = file.byteCount
    try file.finishStreamed(as: path)
    return (digester.finish(), byteCount)
  }

  private func nextBuffer() throws {
    submitFilled()
    unsafe buffer = try ring.take()
  }

  private func submitFilled() {
    guard filled > 0 else { return }
    ring.submit(filled)
    submittedByteCount += filled
    filled = 0
    unsafe buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  }
}
