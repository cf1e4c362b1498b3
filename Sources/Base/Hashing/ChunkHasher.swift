// The SHA-256 of a shard and its state after each chunk: what finds damage, and
// proves a mended chunk, without the rest of the file.

internal import Glibc

/// A running SHA-256 that keeps its state after every 16 MiB.
///
/// The states cost nothing: the digest passes through them anyway (D8). A chunk is
/// right exactly if it leads from the state before it to the state after it.
///
/// `@unchecked Sendable`: an instance belongs to one owner, who hands it from
/// thread to thread and uses it from one at a time.
package final class ChunkHasher: @unchecked Sendable {
  /// Bytes of a chunk; the last one of a file is shorter.
  package static let chunkByteCount = 16 << 20

  private var sha256: Sha256
  /// The state after each whole chunk so far, 32 bytes each.
  package private(set) var states: [UInt8] = []

  /// Starts at the beginning of a file.
  package init() { sha256 = Sha256() }

  /// Starts at the beginning of a chunk.
  ///
  /// - Parameters:
  ///   - chunk: Its number, from 0.
  ///   - states: The states of the file, at least those before the chunk.
  init(at chunk: Int, of states: [UInt8]) {
    sha256 =
      chunk == 0
      ? Sha256()
      : Sha256(resuming: states[(32 * (chunk - 1))..<(32 * chunk)], after: chunk * Self.chunkByteCount)
  }

  /// Adds bytes; an empty span changes nothing.
  package func update(_ bytes: RawSpan) {
    var done = 0
    while done < bytes.byteCount {
      let room = Self.chunkByteCount - sha256.byteCount % Self.chunkByteCount
      let end = min(bytes.byteCount, done + room)
      sha256.update(bytes.extracting(done..<end), besideOthersAs: ObjectIdentifier(self))
      if end - done == room { states += sha256.state }
      done = end
    }
  }

  /// The digest of all bytes so far; more may follow.
  package func digestSoFar() -> ContentDigest { sha256.digestSoFar() }
}

/// The chunks of one revision of a shard, and the states that tell them good.
package struct ShardChunks: Sendable, Equatable {
  /// Bytes and digest of the whole file.
  package let byteCount: Int
  package let digest: ContentDigest
  private let states: [UInt8]

  /// Takes states as a ``ChunkHasher`` gave them; nil if they cannot be of such
  /// a file.
  package init?(byteCount: Int, digest: ContentDigest, states: [UInt8]) {
    guard byteCount > 0, states.count == 32 * (byteCount / ChunkHasher.chunkByteCount) else { return nil }
    self.byteCount = byteCount
    self.digest = digest
    self.states = states
  }

  /// How many chunks there are, the short one at the end included.
  package var count: Int { (byteCount + ChunkHasher.chunkByteCount - 1) / ChunkHasher.chunkByteCount }

  /// The bytes of a chunk in the file.
  package func range(of chunk: Int) -> Range<Int> {
    let start = chunk * ChunkHasher.chunkByteCount
    return start..<min(byteCount, start + ChunkHasher.chunkByteCount)
  }

  /// Whether these are the bytes of a chunk.
  ///
  /// - Complexity: O(16 MiB): the rest of the file is not looked at.
  package func isRight(_ bytes: RawSpan, chunk: Int) -> Bool {
    guard bytes.byteCount == range(of: chunk).count else { return false }
    let hasher = ChunkHasher(at: chunk, of: states)
    hasher.update(bytes)
    guard chunk == count - 1 else { return hasher.states == Array(states[(32 * chunk)..<(32 * (chunk + 1))]) }
    // The last chunk may be a whole one: its state is kept, and must lead on.
    return hasher.digestSoFar() == digest
  }

  /// The chunks of a file that are not what they should be.
  ///
  /// - Parameters:
  ///   - path: The file, of any length; what is missing is damaged, what cannot
  ///     be read is too.
  ///   - isCancelled: Asked before each chunk; true ends the search with what
  ///     was found.
  /// - Returns: Their numbers, in order.
  /// - Throws: ``TarnError`` `.io` when the file cannot be opened.
  package func damaged(in path: String, isCancelled: () -> Bool = { false }) throws -> [Int] {
    let descriptor = try Disk.openInput(path).descriptor
    defer { close(descriptor) }
    var damaged: [Int] = []
    var buffer = [UInt8](repeating: 0, count: min(byteCount, ChunkHasher.chunkByteCount))
    for chunk in 0..<count where !isCancelled() {
      let range = range(of: chunk)
      var done = 0
      while done < range.count {
        let got = buffer.withUnsafeMutableBytes {
          pread(descriptor, $0.baseAddress.map { $0 + done }, range.count - done, off_t(range.lowerBound + done))
        }
        if got < 0, errno == EINTR { continue }
        if got <= 0 { break }
        done += got
      }
      if !isRight(buffer.span.bytes.extracting(first: done), chunk: chunk) { damaged.append(chunk) }
    }
    return damaged
  }

  /// Chunk numbers as people read them: `3, 17-18 of 87`.
  package func text(_ chunks: [Int]) -> String {
    let runs = OrdinalSet(ascending: chunks).parts
    return runs.prefix(8).joined(separator: ", ") + (runs.count > 8 ? " …" : "") + " of \(count)"
  }
}
