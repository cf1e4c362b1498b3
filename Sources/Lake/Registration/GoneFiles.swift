// Files of shards that are not told any more where they were, each to be found at most once under another address: a
// source may have a hundred thousand of them, and all may have moved together. Pure.

package import Base

/// Files that are gone from their addresses.
package struct GoneFiles: Sendable {
  /// What is known of such a file.
  package struct File: Sendable {
    package let name: String
    package let byteCount: Int?
    package let digest: ContentDigest?

    package init(name: String, byteCount: Int?, digest: ContentDigest?) {
      self.name = name
      self.byteCount = byteCount
      self.digest = digest
    }
  }

  private struct Content: Hashable {
    let byteCount: Int
    let digest: ContentDigest
  }

  private let files: [File]
  private let byName: [String: Int]
  /// The last first, so that the next one is at the end.
  private var byContent: [Content: [Int]]
  /// How many of a size were not found yet.
  private var sizes: [Int: Int]
  /// Places of those that were found.
  package private(set) var found: Set<Int> = []

  /// Begins with none found.
  ///
  /// - Parameter files: The files.
  package init(_ files: [File]) {
    self.files = files
    byName = Dictionary(zip(files.map(\.name), files.indices)) { first, _ in first }
    byContent = [:]
    for (place, file) in files.enumerated().reversed() {
      guard let byteCount = file.byteCount, let digest = file.digest else { continue }
      byContent[Content(byteCount: byteCount, digest: digest), default: []].append(place)
    }
    sizes = Dictionary(files.compactMap(\.byteCount).map { ($0, 1) }, uniquingKeysWith: +)
  }

  /// Finds the file of a name, at however many addresses.
  ///
  /// - Parameter name: The name.
  /// - Returns: Its place; nil for none.
  package mutating func find(named name: String) -> Int? {
    guard let place = byName[name] else { return nil }
    if found.insert(place).inserted, let byteCount = files[place].byteCount { sizes[byteCount, default: 0] -= 1 }
    return place
  }

  /// Whether one of a size was not found yet.
  package func lacks(byteCount: Int) -> Bool { sizes[byteCount, default: 0] > 0 }

  /// Finds the first file of some bytes that was not found yet.
  ///
  /// - Parameters:
  ///   - byteCount: How many they are.
  ///   - digest: Their digest.
  /// - Returns: Its place; nil for none.
  package mutating func find(byteCount: Int, digest: ContentDigest) -> Int? {
    let content = Content(byteCount: byteCount, digest: digest)
    while let place = byContent[content]?.popLast() {
      guard found.insert(place).inserted else { continue }
      sizes[byteCount, default: 0] -= 1
      return place
    }
    return nil
  }
}
