// How results get from a working name to their digest's name, and how inputs
// are trusted: shared by training, building and reproducing.

internal import Catalog
internal import Foundation

/// Moves finished files under the digest that names them.
struct ArtifactStore {
  let catalog: LakeCatalog

  /// A working name for a file that is about to be written.
  func workingPath(_ stem: String) throws -> String {
    try Disk.makeDirectory(catalog.layout.artifactScratch)
    return "\(catalog.layout.artifactScratch)/\(stem)"
  }

  /// Moves a durable file to its final name (invariants 1 and 2).
  ///
  /// - Parameters:
  ///   - path: The working name.
  ///   - kind: What the file is.
  ///   - digest: The SHA-256 of its bytes.
  /// - Throws: ``CatalogError`` when the disk refuses.
  func adopt(_ path: String, as kind: ArtifactKind, _ digest: ContentDigest) throws {
    let final = catalog.path(of: kind, digest)
    try Disk.makeDirectory((final as NSString).deletingLastPathComponent)
    try Disk.moveIntoPlace(path, final)
  }

  /// An artifact's path, once its bytes have been read and found right.
  ///
  /// - Parameters:
  ///   - kind: What the file is.
  ///   - digest: What its SHA-256 must be.
  /// - Returns: Its absolute path.
  /// - Throws: ``IndexerError`` `.inputsMissing` or `.integrity`.
  func verified(_ kind: ArtifactKind, _ digest: ContentDigest) throws -> String {
    let path = catalog.path(of: kind, digest)
    guard Disk.size(of: path) != nil else {
      throw IndexerError(
        .inputsMissing, "the \(kind.rawValue) \(digest.prefix(12)) is not at \(path)",
        hint: "restore the file, or make it again")
    }
    guard try Disk.digest(of: path) == digest else {
      throw IndexerError(.integrity, "\(path) is damaged: its SHA-256 is not its name", hint: "restore or rebuild it")
    }
    return path
  }
}

/// Opens feature shards whose bytes are what the catalog vouches for.
struct ShardReader {
  let catalog: LakeCatalog

  /// Opens a shard after hashing it.
  ///
  /// - Parameters:
  ///   - path: File below the shards directory.
  ///   - revision: The revision it must be.
  ///   - source: Gives dimension and element type.
  /// - Returns: The mapped file.
  /// - Throws: ``IndexerError`` `.integrity` when the bytes have changed since
  ///   they were fetched, `.badFeatures`, `.inputsMissing`.
  func open(_ path: String, revision: ShardRevision, source: Source) throws -> FeatureFile {
    let absolute = catalog.layout.shards + "/" + path
    guard Disk.size(of: absolute) != nil else {
      throw IndexerError(
        .inputsMissing, "\(absolute) is gone", hint: "fetch it again with `tarn sync \(source.name)`")
    }
    guard try Disk.digest(of: absolute) == revision.digest else {
      throw IndexerError(
        .integrity, "\(absolute) has changed since it was fetched",
        hint: "delete the file and run `tarn sync \(source.name)`")
    }
    let file = try FeatureFile(absolute, dimension: source.dimension, elementType: source.elementType)
    guard file.rowCount == revision.rowCount else {
      throw IndexerError(.integrity, "\(absolute) has \(file.rowCount) rows, the catalog counts \(revision.rowCount)")
    }
    return file
  }
}

extension Source {
  /// The error that shards of this source are not in the lake.
  func missing(_ shards: [String], of total: Int) -> IndexerError {
    let names = shards.prefix(3).joined(separator: ", ") + (shards.count > 3 ? ", …" : "")
    return IndexerError(
      .inputsMissing, "\(shards.count) of \(total) shards of source \(name) are not in the lake: \(names)",
      hint: "run `tarn sync \(name)`")
  }
}
