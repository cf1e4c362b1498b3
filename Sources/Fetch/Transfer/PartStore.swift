// The disk's side of a part file: writes, SHA-256 as bytes pass, resume points,
// and the one way to the final name. Everything here may block.
//
// Invariants:
// 1. What a resume point vouches for was synced before it, and its digest is
//    compared when it is used: a torn or rotten partial starts over.
// 2. The final name holds a whole file: length and SHA-256 as expected, synced
//    before the rename.
// 3. After a failed write or sync nothing more is written (D4).

internal import Base
internal import CCurl
internal import Features
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

/// A `.part` file and its resume point.
///
/// Sendable although mutable: its methods run one at a time and in order, on
/// the transfer's disk queue.
final class PartStore: @unchecked Sendable {
  /// Who the bytes are from, as far as a resume point tells.
  struct Provenance: Sendable {
    var source: ContentDigest
    var validator: EntityValidator
    var totalByteCount: Int?
  }

  let path: String
  private let resumePath: String
  private let checkpointByteCount: Int
  /// Bytes to ask the file system for before the first is written; 0 for none.
  private let roomByteCount: Int
  /// Whether the file system keeps the room.
  private var isAllocated = false
  private let lackOfRoom: @Sendable () -> TarnError?
  /// D12: whether writing ended where the file system's reserve begins; nothing failed.
  private(set) var isAtReserve = false
  private var descriptor: Int32
  /// Whether the bytes are there already, and are only read past.
  private var isInPlace = false
  /// Whether a sync failed.
  private var isInDoubt = false
  private var hasher = ChunkHasher()
  private var provenance: Provenance?
  private var writtenByteCount = 0
  private var checkpointedByteCount = 0
  /// Up to where the kernel was told to begin writing back.
  private var pushedByteCount = 0
  /// Up to where there was seen to be room.
  private var lookedByteCount = 0

  /// Bytes between two pushes of the page cache; syncs find little left to do.
  private static let pushByteCount = 8 << 20

  /// Opens or creates the file.
  ///
  /// - Parameters:
  ///   - path: The part file.
  ///   - checkpointByteCount: Bytes between two resume points.
  ///   - roomByteCount: The size the shard is known to have; nil if nobody
  ///     trustworthy says: what a server claims allocates nothing.
  ///   - lackOfRoom: Asked now and then where the file system keeps no room (D12).
  /// - Throws: ``TarnError`` `.io` or `.diskFull`.
  init(
    opening path: String, checkpointByteCount: Int, roomByteCount: Int?,
    lackOfRoom: @escaping @Sendable () -> TarnError?
  ) throws(TarnError) {
    self.lackOfRoom = lackOfRoom
    self.path = path
    self.checkpointByteCount = checkpointByteCount
    self.roomByteCount = roomByteCount ?? 0
    resumePath = path + ".resume"
    try TarnError.storing { try FaultPlan.step("create", path) }
    descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw Disk.systemError("create", path) }
  }

  deinit { close(descriptor) }

  /// Forgets everything held; the file is empty afterwards.
  func startOver() throws(TarnError) {
    hasher = ChunkHasher()
    provenance = nil
    writtenByteCount = 0
    checkpointedByteCount = 0
    pushedByteCount = 0
    lookedByteCount = 0
    isAllocated = false
    isInPlace = false
    isInDoubt = false
    // The resume point goes first: it must never vouch for other bytes.
    if unsafe access(resumePath, F_OK) == 0 { try TarnError.storing { try Disk.remove(resumePath) } }
    guard ftruncate(descriptor, 0) == 0 else { throw Disk.systemError("truncate", path) }
  }

  /// Asks the file system for room, so that a full disk shows before the bytes
  /// have travelled (D6).
  ///
  /// The size of the file stays what was written: it never lies about what is
  /// there (R16). File systems that cannot do it are left alone.
  private func allocate() throws(TarnError) {
    guard roomByteCount > 0, writtenByteCount == 0 else { return }
    try TarnError.storing {
      try FaultPlan.step("allocate", path)
      let number = ccurl_allocate(descriptor, Int64(roomByteCount))
      isAllocated = number == 0
      guard [ENOSPC, EDQUOT, EFBIG].contains(number) else { return }
      throw Disk.systemError(number, "reserve \(roomByteCount) bytes for", path)
    }
  }

  /// Says who the bytes that follow are from.
  func begin(_ provenance: Provenance) { self.provenance = provenance }

  /// Takes a whole file in place of an empty part file; what is written from now on is
  /// what it holds, and only hashed.
  ///
  /// - Parameter file: A regular file on the same file system.
  /// - Throws: ``TarnError`` `.io`.
  func takeOver(_ file: String) throws(TarnError) {
    let taken = unsafe open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard taken >= 0 else { throw Disk.systemError("open", file) }
    close(descriptor)
    descriptor = taken
    isInPlace = true
    try TarnError.storing {
      try FaultPlan.step("rename", path)
      guard unsafe rename(file, path) == 0 else { throw Disk.systemError("rename", file) }
    }
  }

  /// Adds bytes at the end, and a resume point when one is due.
  func write(_ block: Block) throws(TarnError) {
    if isInPlace {
      block.withBytes { bytes in
        hasher.update(bytes)
        writtenByteCount += bytes.byteCount
      }
      return
    }
    try allocate()
    if !isAllocated, writtenByteCount - lookedByteCount >= Self.pushByteCount || writtenByteCount == 0 {
      lookedByteCount = writtenByteCount
      if let error = lackOfRoom() {
        isAtReserve = true
        throw error
      }
    }
    try TarnError.storing {
      try block.withBytes { bytes in
        hasher.update(bytes)
        try Disk.write(bytes, to: descriptor, at: writtenByteCount, named: path)
        writtenByteCount += bytes.byteCount
      }
    }
    if writtenByteCount - pushedByteCount >= Self.pushByteCount {
      ccurl_begin_writing_back(descriptor, Int64(pushedByteCount), Int64(writtenByteCount - pushedByteCount))
      pushedByteCount = writtenByteCount
    }
    try checkpoint(every: checkpointByteCount)
  }

  /// Makes a resume point durable, its bytes first (D1), if `interval` bytes
  /// came since the last.
  ///
  /// A point that cannot be kept costs work later, not correctness; a full disk tells at
  /// the next write. A sync that failed ends it all (D4): it is said once, and the next one,
  /// that of the whole file, would be none the wiser.
  private func checkpoint(every interval: Int) throws(TarnError) {
    guard let provenance, writtenByteCount > 0, writtenByteCount - checkpointedByteCount >= max(1, interval) else {
      return
    }
    checkpointedByteCount = writtenByteCount
    let point = ResumePoint(
      source: provenance.source, validator: provenance.validator, totalByteCount: provenance.totalByteCount,
      byteCount: writtenByteCount, digest: hasher.digestSoFar())
    try sync(fdatasync)
    try? Disk.writeAtomically(JSONEncoder().encode(point), to: resumePath)
  }

  /// Syncs the bytes; once only, where that fails: what came of them is unknown then (D4).
  private func sync(_ call: (Int32) -> Int32) throws(TarnError) {
    try TarnError.storing {
      do {
        try FaultPlan.step("fsync", path)
        guard call(descriptor) == 0 else { throw Disk.systemError("fsync", path) }
      } catch {
        isInDoubt = true
        throw error
      }
    }
  }

  /// Keeps what arrived for a later attempt, and gives back the room for what
  /// did not.
  ///
  /// What is in doubt is not vouched for.
  func park() throws(TarnError) {
    if !isInDoubt { try checkpoint(every: 1) }
    _ = ftruncate(descriptor, off_t(writtenByteCount))
  }

  /// Verifies the whole shard (D9) and moves it to its final name (D2).
  ///
  /// - Parameters:
  ///   - byteCount: Bytes that the shard has.
  ///   - expected: Its SHA-256, if known.
  ///   - finalPath: Its final name.
  /// - Returns: Its SHA-256, the states that lead to it, and its final path.
  /// - Throws: ``TarnError`` `.integrity` if it is not the shard.
  func finish(
    byteCount: Int, expected: ContentDigest?, as finalPath: (ContentDigest) -> String
  ) throws(TarnError) -> (digest: ContentDigest, states: [UInt8], path: String) {
    guard writtenByteCount == byteCount else {
      throw TarnError(.integrity, "\(writtenByteCount) of \(byteCount) bytes")
    }
    let digest = hasher.digestSoFar()
    if let expected, digest != expected {
      throw TarnError(
        .integrity, "SHA-256 \(digest.prefix(16))… where \(expected.prefix(16))… is expected")
    }
    let final = finalPath(digest)
    try sync(fsync)
    try TarnError.storing {
      try Disk.moveIntoPlace(path, final)
      try Disk.remove(resumePath)
    }
    return (digest, hasher.states, final)
  }

  /// Removes the file and its resume point.
  func discard() throws(TarnError) {
    try TarnError.storing {
      try Disk.remove(resumePath)
      try Disk.remove(path)
    }
  }

  // MARK: The resume point

  /// Hashes the partial up to its resume point, if that holds.
  ///
  /// D8: from disk, because the disk may have changed it meanwhile.
  ///
  /// - Returns: The point and the first bytes of the file; nil when the partial
  ///   is not what the point says, and has to be dropped.
  /// - Throws: ``TarnError`` `.io`.
  func readPartial() throws(TarnError) -> (point: ResumePoint, start: [UInt8])? {
    guard let point = readResumePoint() else { return nil }
    var info = stat()
    guard unsafe fstat(descriptor, &info) == 0 else { throw Disk.systemError("examine", path) }
    guard point.byteCount > 0, Int(info.st_size) >= point.byteCount else { return nil }
    var start: [UInt8] = []
    var done = 0
    var piece = [UInt8](repeating: 0, count: Block.capacity)
    while done < point.byteCount {
      let wanted = min(piece.count, point.byteCount - done)
      let count = unsafe pread(descriptor, &piece, wanted, off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", path) }
      // Somebody cut it short meanwhile.
      guard count > 0 else { return nil }
      if done == 0 { start = Array(piece.prefix(min(count, FeatureHead.maximumByteCount))) }
      unsafe hasher.update(piece.span.bytes.extracting(first: count))
      done += count
    }
    return hasher.digestSoFar() == point.digest ? (point, start) : nil
  }

  /// Continues after a resume point that ``readPartial()`` found to hold.
  func takeUp(_ point: ResumePoint) throws(TarnError) {
    guard ftruncate(descriptor, off_t(point.byteCount)) == 0 else {
      throw Disk.systemError("truncate", path)
    }
    provenance = Provenance(
      source: point.source, validator: point.validator, totalByteCount: point.totalByteCount)
    writtenByteCount = point.byteCount
    checkpointedByteCount = point.byteCount
    pushedByteCount = point.byteCount
    lookedByteCount = point.byteCount - Self.pushByteCount
  }

  private func readResumePoint() -> ResumePoint? {
    guard let bytes = try? Disk.contents(of: resumePath, atMost: 1 << 16) else { return nil }
    return try? JSONDecoder().decode(ResumePoint.self, from: Data(bytes))
  }
}
