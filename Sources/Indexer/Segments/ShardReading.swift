// Opening a feature shard whose bytes must be known ones: hashed beforehand, or
// on a thread of their own while they are read.

package import Base
package import Features

/// A feature shard on disk, and the bytes it must have.
package struct PinnedShard: Sendable {
  /// The file, absolute.
  package let path: String
  package let digest: ContentDigest
  package let rowCount: Int
  package let dimension: Int
  package let elementType: ElementType
  /// The array of the file; nil for the only one.
  package let array: String?
  /// What to do when the file is gone or has changed: for people.
  package let remedy: String

  package init(
    path: String, digest: ContentDigest, rowCount: Int, dimension: Int, elementType: ElementType,
    array: String? = nil, remedy: String
  ) {
    self.array = array
    self.path = path
    self.digest = digest
    self.rowCount = rowCount
    self.dimension = dimension
    self.elementType = elementType
    self.remedy = remedy
  }

  /// Opens the shard after hashing it.
  ///
  /// - Returns: The mapped file.
  /// - Throws: ``TarnError`` `.integrity` when the bytes are others,
  ///   `.badFeatures`, `.inputsMissing`.
  package func open() throws -> FeatureFile {
    let reading = try read()
    try reading.requireDigest()
    return reading.file
  }

  /// Opens the shard and begins to hash it.
  ///
  /// - Returns: The mapped file, not to be believed before
  ///   ``ShardReading/requireDigest()`` has returned.
  /// - Throws: ``TarnError`` `.integrity`, `.badFeatures`, `.inputsMissing`.
  package func read() throws -> ShardReading {
    guard Disk.size(of: path) != nil else { throw TarnError(.inputsMissing, "\(path) is gone", hint: remedy) }
    let changed = TarnError(
      .integrity, "\(path) has changed since it was fetched",
      hint: "`tarn verify --repair` mends it where it can; else delete the file and \(remedy)")
    let (bytes, opened) = try Disk.openTwice(path) {
      try InputFile(path: path)
    } _: {
      Result { try FeatureFile(path, array: array, dimension: dimension, elementType: elementType) }
    }
    let hash = ThreadedWork("tarn-hash") { try bytes.digest() }
    try hash.requireNoFailure()
    do {
      let file = try opened.get()
      guard file.rowCount == rowCount else {
        throw TarnError(.integrity, "\(path) has \(file.rowCount) rows, \(rowCount) were recorded")
      }
      return ShardReading(file: file, digest: digest, array: array, hash: hash, changed: changed)
    } catch {
      // Bytes that have changed since they were recorded are the better reason.
      guard try hash.wait() == digest else { throw changed }
      throw error
    }
  }
}

/// A shard that is being read and hashed at once.
package struct ShardReading: Sendable {
  /// The shard's rows.
  package let file: FeatureFile
  /// What its bytes must be.
  package let digest: ContentDigest
  /// The array of the file that the rows are; nil for the only one.
  package let array: String?
  fileprivate let hash: ThreadedWork<ContentDigest>
  fileprivate let changed: TarnError

  /// Waits for the digest of what is read, and requires that it is the recorded one.
  ///
  /// - Throws: ``TarnError`` `.integrity` when it is another.
  package func requireDigest() throws {
    guard try hash.wait() == digest else { throw changed }
  }
}
