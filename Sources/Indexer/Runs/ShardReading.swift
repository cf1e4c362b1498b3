// Opening feature shards whose bytes are what the catalog vouches for: hashed
// beforehand, or on a thread of their own while they are read.

internal import Base
internal import Catalog
internal import Features

/// Opens feature shards of a lake.
struct ShardReader {
  let catalog: LakeCatalog

  /// Opens a shard after hashing it.
  ///
  /// - Parameters:
  ///   - path: File below the shards directory.
  ///   - revision: The revision it must be.
  ///   - source: Gives dimension and element type.
  /// - Returns: The mapped file.
  /// - Throws: ``TarnError`` `.integrity` when the bytes have changed since
  ///   they were fetched, `.badFeatures`, `.inputsMissing`.
  func open(_ path: String, revision: ShardRevision, source: Source) throws -> FeatureFile {
    let reading = try begin(path, revision: revision, source: source)
    try reading.requireDigest()
    return reading.file
  }

  /// Opens a shard and begins to hash it.
  ///
  /// - Parameters:
  ///   - path: File below the shards directory.
  ///   - revision: The revision it must be.
  ///   - source: Gives dimension and element type.
  /// - Returns: The mapped file, not to be believed before
  ///   ``ShardReading/requireDigest()`` has returned.
  /// - Throws: ``TarnError`` `.integrity`, `.badFeatures`, `.inputsMissing`.
  func begin(_ path: String, revision: ShardRevision, source: Source) throws -> ShardReading {
    let absolute = catalog.layout.shards + "/" + path
    guard Disk.size(of: absolute) != nil else {
      throw TarnError(
        .inputsMissing, "\(absolute) is gone", hint: "fetch it again with `tarn sync \(source.name)`")
    }
    let hash = ThreadedWork("tarn-hash") { try Disk.digest(of: absolute) }
    func changed() -> TarnError {
      TarnError(
        .integrity, "\(absolute) has changed since it was fetched",
        hint: "delete the file and run `tarn sync \(source.name)`")
    }
    do {
      let file = try FeatureFile(absolute, dimension: source.dimension, elementType: source.elementType)
      guard file.rowCount == revision.rowCount else {
        throw TarnError(.integrity, "\(absolute) has \(file.rowCount) rows, the catalog counts \(revision.rowCount)")
      }
      return ShardReading(file: file, revision: revision, hash: hash, changed: changed())
    } catch {
      guard try hash.wait() == revision.digest else { throw changed() }
      throw error
    }
  }
}

/// A shard that is being read and hashed at once.
struct ShardReading: Sendable {
  /// The shard's rows.
  let file: FeatureFile
  /// What they must be.
  let revision: ShardRevision
  fileprivate let hash: ThreadedWork<ContentDigest>
  fileprivate let changed: TarnError

  /// Waits for the digest, and requires that it is the recorded one.
  ///
  /// - Throws: ``TarnError`` `.integrity` when it is another.
  func requireDigest() throws {
    guard try hash.wait() == revision.digest else { throw changed }
  }
}
