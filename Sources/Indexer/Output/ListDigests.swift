// One digest per inverted list: what finds the one bad list of a large file,
// or the first list in which two builds differ.

package import Base

/// The digests of all lists of a file, in list order.
package struct ListDigests: Sendable, Equatable {
  /// Bytes of one digest: SHA-256, the first half.
  package static let digestByteCount = 16
  /// The digests one after another, `[nlist × 16]`; also their file format.
  package private(set) var bytes: [UInt8] = []

  /// Number of lists.
  package var count: Int { bytes.count / Self.digestByteCount }

  /// The digest of them all: SHA-256 over ``bytes``.
  package var root: ContentDigest { ContentDigest.of(bytes) }

  init() {}

  /// Reads digests as ``bytes`` gives them; nil for a wrong length.
  package init?(bytes: [UInt8]) {
    guard bytes.count % Self.digestByteCount == 0 else { return nil }
    self.bytes = bytes
  }

  /// The digest of one list, 16 bytes.
  package subscript(list: Int) -> ArraySlice<UInt8> {
    bytes[list * Self.digestByteCount..<(list + 1) * Self.digestByteCount]
  }

  /// The first list whose digests differ; nil when all are equal.
  package func firstDifference(from other: ListDigests) -> Int? {
    for list in 0..<min(count, other.count) where self[list] != other[list] { return list }
    return count == other.count ? nil : min(count, other.count)
  }

  /// Appends the next list's digest.
  ///
  /// - Parameter digest: The 32 bytes of its SHA-256.
  mutating func append(_ digest: some Collection<UInt8>) {
    bytes += digest.prefix(Self.digestByteCount)
  }
}
