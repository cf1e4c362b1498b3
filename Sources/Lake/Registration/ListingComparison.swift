// What a listing says of a source that is there: which shards are new, gone, elsewhere, or
// have other bytes. Pure: what is known of shards and a listing go in, and no ordinal moves.

package import Base

/// A listing held against the shards of a source.
package struct ListingComparison: Sendable {
  /// What is known of a shard.
  package struct Known: Sendable {
    package let name: String
    /// Its path in listings of the place; nil where its address is not of there.
    package let path: String?
    package let byteCount: Int?
    package let digest: ContentDigest?
    /// Whether it was dropped: it is neither new nor gone.
    package let isDropped: Bool

    package init(name: String, path: String?, byteCount: Int?, digest: ContentDigest?, isDropped: Bool = false) {
      self.name = name
      self.path = path
      self.byteCount = byteCount
      self.digest = digest
      self.isDropped = isDropped
    }
  }

  /// A shard, by its ordinal, and the file of the listing that is now its own.
  package struct Pair: Sendable, Equatable {
    package let ordinal: Int
    package let file: ListedFile
  }

  /// Files that no shard is, in the listing's order.
  package private(set) var added: [ListedFile] = []
  /// Ordinals of shards that the listing does not have, ascending.
  package private(set) var gone: [Int] = []
  /// Shards that have another path and, as far as is known, the same bytes.
  package private(set) var moved: [Pair] = []
  /// Shards that have other bytes, at their path or at another one.
  package private(set) var changed: [Pair] = []

  /// Compares.
  ///
  /// - Parameters:
  ///   - known: The shards, by ordinal.
  ///   - files: The listing; no path comes twice.
  package init(_ known: [Known], with files: [ListedFile]) {
    let byPath = Dictionary(
      known.enumerated().compactMap { ordinal, shard in shard.path.map { ($0, ordinal) } },
      uniquingKeysWith: { first, _ in first })
    var there: Set<Int> = []
    for file in files {
      guard let ordinal = byPath[file.path] else {
        added.append(file)
        continue
      }
      there.insert(ordinal)
      if !known[ordinal].isDropped, !Self.mayBeSame(known[ordinal], file) {
        changed.append(Pair(ordinal: ordinal, file: file))
      }
    }
    gone = known.indices.filter { !known[$0].isDropped && !there.contains($0) }
    // Bytes first: a name may have gone over to others.
    pair(known, by: \.digest?.hex) { $0.digest?.hex }
    pair(known, by: \.name) { $0.path.lastPathPart }
    moved.sort { $0.ordinal < $1.ordinal }
    changed.sort { $0.ordinal < $1.ordinal }
  }

  /// Whether nothing that is known speaks against a file's being a shard's bytes.
  private static func mayBeSame(_ shard: Known, _ file: ListedFile) -> Bool {
    if let own = shard.digest, let its = file.digest { return own == its }
    guard let own = shard.byteCount, let its = file.byteCount else { return true }
    return own == its
  }

  /// Gives shards that are gone the new files that have something in common with them, each
  /// once and in order.
  private mutating func pair(_ known: [Known], by key: (Known) -> String?, _ its: (ListedFile) -> String?) {
    var open: [String: [Int]] = [:]
    for ordinal in gone.reversed() { if let key = key(known[ordinal]) { open[key, default: []].append(ordinal) } }
    var found: Set<Int> = []
    added = added.filter { file in
      guard let key = its(file), let ordinal = open[key]?.popLast() else { return true }
      found.insert(ordinal)
      let pair = Pair(ordinal: ordinal, file: file)
      if Self.mayBeSame(known[ordinal], file) { moved.append(pair) } else { changed.append(pair) }
      return false
    }
    gone.removeAll { found.contains($0) }
  }
}
