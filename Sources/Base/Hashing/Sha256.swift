// The one front of SHA-256. Three kinds of work, one back end (CSha256, which
// uses the CPU's SHA instructions): `Sha256` here for one string, `ChunkHasher`
// for a file whose chunks must be told apart, `Sha256Batch` for strings that one
// thread carries on side by side.

internal import CSha256

/// A running SHA-256; feed it bytes in order, then finalize.
package struct Sha256: ~Copyable {
  /// How this machine computes blocks.
  static let path = csha256_best_path()

  private var stream = csha256_stream()

  /// Starts with no bytes.
  package init() { csha256_start(&stream) }

  /// Goes on where another has been.
  ///
  /// - Parameters:
  ///   - state: What ``state`` was there, 32 bytes.
  ///   - byteCount: How many bytes came before, a multiple of 64.
  init(resuming state: some Collection<UInt8>, after byteCount: Int) {
    precondition(state.count == 32 && byteCount % 64 == 0, "no state of a SHA-256 between two blocks")
    csha256_start(&stream)
    withUnsafeMutableBytes(of: &stream.state) { words in
      for (place, byte) in state.enumerated() { words[place & ~3 | 3 - place & 3] = byte }
    }
    stream.length = UInt64(byteCount)
  }

  /// How many bytes came so far.
  var byteCount: Int { Int(stream.length) }

  /// What the next bytes meet, 32 bytes; with ``byteCount`` a multiple of 64 it
  /// stands for all that came.
  var state: [UInt8] {
    withUnsafeBytes(of: stream.state) { words in (0..<32).map { words[$0 & ~3 | 3 - $0 & 3] } }
  }

  /// Adds bytes; an empty span changes nothing.
  package mutating func update(_ bytes: RawSpan) {
    withJob(of: bytes) { job in
      withUnsafePointer(to: job.job) { csha256_run(Self.path, $0, 1) }
    }
  }

  /// Adds bytes, in a pair with another thread's where one waits.
  ///
  /// - Parameters:
  ///   - bytes: What comes next.
  ///   - owner: Tells this string from others.
  mutating func update(_ bytes: RawSpan, besideOthersAs owner: ObjectIdentifier) {
    withJob(of: bytes) { Sha256Lanes.shared.run($0, of: owner) }
  }

  private mutating func withJob(of bytes: RawSpan, _ body: (Sha256Job) -> Void) {
    guard bytes.byteCount > 0 else { return }
    bytes.withUnsafeBytes { buffer in
      withUnsafeMutablePointer(to: &stream) { stream in
        body(
          Sha256Job(
            job: csha256_job(
              stream: stream, pieces: (buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), nil),
              counts: (buffer.count, 0), digest: nil)))
      }
    }
  }

  /// The digest of all bytes so far; more may follow.
  package func digestSoFar() -> ContentDigest { ContentDigest(bytes: bytesSoFar()) }

  /// The digest of all bytes; nothing can follow.
  package consuming func finalize() -> ContentDigest { ContentDigest(bytes: bytesSoFar()) }

  /// As ``finalize()``, as 32 bytes, for formats that hold digests in binary.
  package consuming func finalizeBytes() -> [UInt8] { bytesSoFar() }

  private func bytesSoFar() -> [UInt8] {
    var copy = stream
    return withUnsafeMutablePointer(to: &copy) { copy in
      [UInt8](unsafeUninitializedCapacity: 32) { digest, count in
        var job = csha256_job(stream: copy, pieces: (nil, nil), counts: (0, 0), digest: digest.baseAddress)
        csha256_run(Self.path, &job, 1)
        count = 32
      }
    }
  }
}
