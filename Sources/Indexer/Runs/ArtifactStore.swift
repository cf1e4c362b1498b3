// How results get from a working name to their digest's name, and how inputs
// are trusted: shared by training, building and reproducing.

internal import Base
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
  /// - Throws: ``TarnError`` when the disk refuses.
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
  /// - Throws: ``TarnError`` `.inputsMissing` or `.integrity`.
  func verified(_ kind: ArtifactKind, _ digest: ContentDigest) throws -> String {
    let path = catalog.path(of: kind, digest)
    guard Disk.size(of: path) != nil else {
      throw TarnError(
        .inputsMissing, "the \(kind.rawValue) \(digest.prefix(12)) is not at \(path)",
        hint: "restore the file, or make it again")
    }
    guard try Disk.digest(of: path) == digest else {
      throw TarnError(.integrity, "\(path) is damaged: its SHA-256 is not its name", hint: "restore or rebuild it")
    }
    return path
  }
}

extension Source {
  /// The error that shards of this source are not in the lake.
  func missing(_ shards: [String], of total: Int) -> TarnError {
    let names = shards.prefix(3).joined(separator: ", ") + (shards.count > 3 ? ", …" : "")
    return TarnError(
      .inputsMissing, "\(shards.count) of \(total) shards of source \(name) are not in the lake: \(names)",
      hint: "run `tarn sync \(name)`")
  }
}
