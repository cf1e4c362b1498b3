// The bytes of one shard while they gather: coalesced writes, SHA-256 as they
// pass, the .npy header checked before a byte is written, resume points, and
// the one way to the final name.
//
// Invariants:
// 1. No byte is written before the header in front of it was accepted.
// 2. What a resume point vouches for was fsynced before it, and its digest is
//    compared when it is used: a torn or rotten partial starts over.
// 3. The final name holds a whole file: length as the header and every other
//    source of a size say, SHA-256 as expected, fsynced before the rename.

internal import Catalog
internal import Foundation
internal import Glibc

/// What a later run needs to continue a partial file; kept beside it as JSON.
///
/// Of the address it holds a digest only: an address may carry a secret.
struct ResumePoint: Codable, Equatable, Sendable {
  /// The digest of the mirror's address; bytes of two mirrors never mix (R10).
  var source: ContentDigest
  var validator: EntityValidator
  /// Bytes of the whole shard, if the server said.
  var totalByteCount: Int?
  /// Durable bytes from the start, and their SHA-256.
  var byteCount: Int
  var digest: ContentDigest
}

/// A shard's `.part` file and its resume point.
///
/// Sendable although mutable: an instance belongs to one transfer, which hands
/// it between the loop's thread and a disk thread through a mutex and touches
/// it from one of them at a time. ``commit(_:)`` alone may run beside
/// ``receive(_:)``; it reads only what never changes after `init`.
final class PartFile: @unchecked Sendable {
  let path: String
  private let resumePath: String
  private let expectation: ShardExpectation
  private let descriptor: Int32

  private var hasher = Sha256()
  private var buffer: [UInt8] = []
  private var headerByteCount = 10
  /// Bytes in the file; those in the buffer come on top.
  private var writtenByteCount = 0
  private var checkpointedByteCount = 0
  /// What the partial is of; nil while it is empty.
  private(set) var source: ContentDigest?
  private(set) var validator = EntityValidator()
  private(set) var totalByteCount: Int?
  /// The header, once enough bytes came.
  private(set) var header: NpyHeader?

  /// Writes are coalesced up to this many bytes.
  static let writeByteCount = 1 << 20

  /// Bytes held from the start of the shard.
  var byteCount: Int { writtenByteCount + buffer.count }

  /// Bytes of the whole shard, as far as anyone said.
  var wholeByteCount: Int? { expectation.byteCount ?? header?.fileByteCount ?? totalByteCount }

  /// The same for a message.
  var wholeText: String { wholeByteCount.map(String.init) ?? "an unknown number of" }

  /// Whether every byte of the shard is here.
  var isWhole: Bool { header?.fileByteCount == byteCount }

  /// Opens or creates the file and takes up its resume point, if it holds.
  ///
  /// D8: the partial is hashed again from disk, as OpenSSL 3.0 exports no
  /// state; what differs from the resume point is dropped.
  init(opening path: String, expectation: ShardExpectation) throws(FetchError) {
    self.path = path
    self.expectation = expectation
    resumePath = path + ".resume"
    try FetchError.storing { try FaultPlan.step("create", path) }
    descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw FetchError(Disk.systemError("create", path)) }
    buffer.reserveCapacity(Self.writeByteCount + (64 << 10))
    if let point = readResumePoint(), try takeUp(point) { return }
    try startOver()
  }

  deinit { close(descriptor) }

  /// Forgets everything held; the file is empty afterwards.
  func startOver() throws(FetchError) {
    hasher = Sha256()
    buffer.removeAll(keepingCapacity: true)
    writtenByteCount = 0
    checkpointedByteCount = 0
    headerByteCount = 10
    header = nil
    source = nil
    validator = EntityValidator()
    totalByteCount = nil
    // The resume point goes first: it must never vouch for other bytes.
    if unsafe access(resumePath, F_OK) == 0 { try FetchError.storing { try Disk.remove(resumePath) } }
    guard ftruncate(descriptor, 0) == 0 else { throw FetchError(Disk.systemError("truncate", path)) }
  }

  /// Prepares for a body that continues what is held, or for a whole one.
  func accept(_ promise: BodyPromise, from source: ContentDigest, startingOver: Bool) throws(FetchError) {
    if startingOver { try startOver() }
    self.source = source
    validator = promise.validator
    totalByteCount = promise.totalByteCount
  }

  /// Takes the next bytes of the shard.
  ///
  /// - Throws: ``FetchError`` `.integrity` if they cannot be of this shard;
  ///   `.diskFull` or `.io` if they cannot be written.
  func receive(_ bytes: RawSpan) throws(FetchError) {
    unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
    if header == nil { try readHeader() }
    guard let header else { return }
    guard byteCount <= header.fileByteCount else {
      throw FetchError(.integrity, "more bytes than the \(header.fileByteCount) that its .npy header declares")
    }
    if buffer.count >= Self.writeByteCount { try flush() }
  }

  /// Writes out what is buffered.
  func flush() throws(FetchError) {
    guard !buffer.isEmpty, header != nil else { return }
    do {
      try FaultPlan.step("write", path)
      try unsafe buffer.withUnsafeBytes { bytes in
        var done = 0
        while done < bytes.count {
          let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
          let count = unsafe pwrite(descriptor, rest.baseAddress, rest.count, off_t(writtenByteCount + done))
          if count < 0 {
            if errno == EINTR { continue }
            throw Disk.systemError("write", path)
          }
          done += count
        }
      }
    } catch let error as CatalogError {
      throw FetchError(error)
    } catch {
      throw FetchError(.io, "\(error)")
    }
    unsafe hasher.update(buffer.span.bytes)
    writtenByteCount += buffer.count
    buffer.removeAll(keepingCapacity: true)
  }

  /// A resume point for what is written, if `interval` bytes came since the last.
  func checkpoint(every interval: Int) -> ResumePoint? {
    guard let source, header != nil, writtenByteCount > 0,
      writtenByteCount - checkpointedByteCount >= max(1, interval)
    else { return nil }
    checkpointedByteCount = writtenByteCount
    return ResumePoint(
      source: source, validator: validator, totalByteCount: totalByteCount, byteCount: writtenByteCount,
      digest: hasher.digestSoFar())
  }

  /// Makes a resume point durable, its bytes first (D1).
  func commit(_ point: ResumePoint) throws(FetchError) {
    try FetchError.storing {
      try FaultPlan.step("fsync", path)
      guard fdatasync(descriptor) == 0 else { throw Disk.systemError("fsync", path) }
      try Disk.writeAtomically(JSONEncoder().encode(point), to: resumePath)
    }
  }

  /// Keeps what arrived for a later attempt, as far as that is worth it.
  func park() throws(FetchError) {
    try flush()
    if let point = checkpoint(every: 1) { try commit(point) }
  }

  /// Verifies the whole shard and moves it to its final name.
  ///
  /// - Returns: Its SHA-256, header, size and final path.
  /// - Throws: ``FetchError`` `.integrity` if it is not the shard; the partial
  ///   is dropped then.
  func finish(
    as finalPath: (ContentDigest) -> String
  ) throws(FetchError) -> (digest: ContentDigest, header: NpyHeader, byteCount: Int, path: String) {
    try flush()
    guard let header, isWhole else {
      throw FetchError(.integrity, "\(byteCount) of \(wholeText) bytes")
    }
    let digest = hasher.digestSoFar()
    if let expected = expectation.digest, digest != expected {
      try startOver()
      throw FetchError(
        .integrity, "SHA-256 \(digest.prefix(16))… where \(expected.prefix(16))… is expected")
    }
    let final = finalPath(digest)
    try FetchError.storing {
      try FaultPlan.step("fsync", path)
      // D4: after a failed sync the data is unknown; the request ends.
      guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", path) }
      try Disk.moveIntoPlace(path, final)
      try Disk.remove(resumePath)
    }
    return (digest, header, writtenByteCount, final)
  }

  /// Removes the file and its resume point.
  func discard() throws(FetchError) {
    try FetchError.storing {
      try Disk.remove(resumePath)
      try Disk.remove(path)
    }
  }

  // MARK: The header

  /// R11: what the first bytes say must fit everything that is expected.
  private func readHeader() throws(FetchError) {
    guard writtenByteCount == 0, buffer.count >= headerByteCount || !looksLikeNpy else { return }
    switch NpyHeader.parse(Array(buffer.prefix(NpyHeader.maximumByteCount))) {
    case .needs(let count): headerByteCount = count
    case .malformed(let cause): throw FetchError(.integrity, cause)
    case .header(let parsed):
      try check(parsed)
      header = parsed
    }
  }

  /// Whether the first bytes may still be a header's; an HTML page dies at byte 1.
  private var looksLikeNpy: Bool {
    let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]
    return zip(buffer, magic).allSatisfy { $0 == $1 }
  }

  private func check(_ header: NpyHeader) throws(FetchError) {
    guard header.dimension == expectation.dimension else {
      throw FetchError(
        .integrity, "its rows have \(header.dimension) elements where the source has \(expectation.dimension)")
    }
    guard header.elementType == expectation.elementType else {
      throw FetchError(
        .integrity,
        "its elements are \(header.elementType.rawValue) where the source has \(expectation.elementType.rawValue)")
    }
    for (size, teller) in [(expectation.byteCount, "the catalog"), (totalByteCount, "the server")] {
      guard let size, size != header.fileByteCount else { continue }
      throw FetchError(
        .integrity, "\(teller) says \(size) bytes and its .npy header declares \(header.fileByteCount)")
    }
  }

  // MARK: The resume point

  private func readResumePoint() -> ResumePoint? {
    guard let data = FileManager.default.contents(atPath: resumePath), data.count < 1 << 16 else { return nil }
    return try? JSONDecoder().decode(ResumePoint.self, from: data)
  }

  /// Hashes the partial up to the resume point and continues there if it holds.
  ///
  /// - Returns: Whether it does.
  private func takeUp(_ point: ResumePoint) throws(FetchError) -> Bool {
    var info = stat()
    guard unsafe fstat(descriptor, &info) == 0 else { throw FetchError(Disk.systemError("examine", path)) }
    guard point.byteCount > 0, Int(info.st_size) >= point.byteCount else { return false }
    var prefix: [UInt8] = []
    var done = 0
    var piece = [UInt8](repeating: 0, count: Self.writeByteCount)
    while done < point.byteCount {
      let wanted = min(piece.count, point.byteCount - done)
      let count = unsafe pread(descriptor, &piece, wanted, off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw FetchError(Disk.systemError("read", path)) }
      if done == 0 { prefix = Array(piece.prefix(min(count, NpyHeader.maximumByteCount))) }
      unsafe hasher.update(piece.span.bytes.extracting(first: count))
      done += count
    }
    guard hasher.digestSoFar() == point.digest, case .header(let parsed) = NpyHeader.parse(prefix) else { return false }
    do { try check(parsed) } catch { return false }
    guard point.byteCount <= parsed.fileByteCount,
      point.totalByteCount ?? parsed.fileByteCount == parsed.fileByteCount
    else { return false }
    guard ftruncate(descriptor, off_t(point.byteCount)) == 0 else {
      throw FetchError(Disk.systemError("truncate", path))
    }
    header = parsed
    source = point.source
    validator = point.validator
    totalByteCount = point.totalByteCount
    writtenByteCount = point.byteCount
    checkpointedByteCount = point.byteCount
    return true
  }
}
