// SHA-256s that are carried on together, because two at once cost little more
// than one (CSha256). Owns the memory that the C functions work in.

internal import CSha256

/// No bytes at all.
package var noBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: nil, count: 0) }

/// A fixed number of running SHA-256s, each at its place.
///
/// Not thread-safe; hand it on, do not share it.
@safe package final class Sha256Batch {
  private let streams: UnsafeMutablePointer<csha256_stream>
  private let jobs: UnsafeMutablePointer<csha256_job>
  private let digests: UnsafeMutablePointer<UInt8>

  /// Starts `count` digests of nothing.
  package init(count: Int) {
    unsafe streams = .allocate(capacity: count)
    unsafe jobs = .allocate(capacity: count)
    unsafe digests = .allocate(capacity: 32 * count)
    for place in 0..<count { unsafe csha256_start(streams + place) }
  }

  deinit {
    unsafe streams.deallocate()
    unsafe jobs.deallocate()
    unsafe digests.deallocate()
  }

  /// Says what the next ``run(_:)`` adds at a place.
  ///
  /// - Parameters:
  ///   - place: Which SHA-256.
  ///   - first: The bytes that come next; must live until the run.
  ///   - second: The bytes after those; likewise.
  ///   - finishes: Whether that is all: then the run leaves the digest for
  ///     ``digest(_:)``, and the place starts anew.
  package func set(
    _ place: Int, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer = unsafe noBytes, finishes: Bool
  ) {
    unsafe jobs[place] = unsafe csha256_job(
      stream: streams + place,
      pieces: (
        first.baseAddress?.assumingMemoryBound(to: UInt8.self), second.baseAddress?.assumingMemoryBound(to: UInt8.self)
      ),
      counts: (first.count, second.count), digest: finishes ? digests + 32 * place : nil)
  }

  /// Adds what was set at the first `count` places.
  package func run(_ count: Int) { unsafe csha256_run(Sha256.path, jobs, count) }

  /// The 32 bytes of the digest that a place finished in the last run.
  package func digest(_ place: Int) -> UnsafeBufferPointer<UInt8> {
    unsafe UnsafeBufferPointer(start: digests + 32 * place, count: 32)
  }

  /// Exchanges two running SHA-256s.
  package func exchange(_ place: Int, _ other: Int) {
    let stream = unsafe streams[place]
    unsafe streams[place] = streams[other]
    unsafe streams[other] = stream
  }
}
