// The one door to `artifacts/`: how results get from a working name to the name
// of their digest, and how they are trusted when they are read again.

package import Base
package import Catalog
internal import Companions
internal import Indexer

/// A lake's immutable results, under the digests of their bytes.
package struct ArtifactStore: Sendable {
  private let catalog: LakeCatalog

  package init(_ catalog: LakeCatalog) { self.catalog = catalog }

  /// A working name for a file that is about to be written, on the file system
  /// that keeps it; another process has other names.
  ///
  /// - Parameter stem: The file's name; the same stem gives the same path.
  /// - Returns: The path.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func workingPath(_ stem: String) throws -> String {
    try Disk.makeDirectory(catalog.layout.artifactScratch)
    return "\(catalog.layout.artifactScratch)/\(catalog.workingPrefix)\(stem)"
  }

  /// A working name that the next process finds again: for who alone works with that stem.
  ///
  /// - Parameter stem: The file's name.
  /// - Returns: The path.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func partPath(_ stem: String) throws -> String {
    try Disk.makeDirectory(catalog.layout.artifactScratch)
    return "\(catalog.layout.artifactScratch)/\(stem).part"
  }

  /// Moves a durable file to its final name, and records it (invariants 1 and 2).
  ///
  /// A file that is there with these bytes stays, and the new one goes: versions have it under names of theirs, and
  /// another in its place would part them from it, so that both took room.
  ///
  /// - Parameters:
  ///   - path: The working name.
  ///   - kind: What the file is.
  ///   - digest: The SHA-256 of its bytes.
  ///   - record: Writes the rows about it; nothing where they are there already.
  /// - Throws: ``TarnError`` when the disk refuses; what `record` throws.
  package func put(
    _ path: String, as kind: StoredKind, _ digest: ContentDigest, record: () throws -> Void = {}
  ) throws {
    let final = try self.path(of: kind, digest)
    try Disk.makeDirectory(final.parentPath)
    if let size = Disk.size(of: final), size == Disk.size(of: path),
      (try? Disk.digest(of: final, isFromDisk: true)) == digest
    {
      // Whoever moved it there may have died before its name was durable.
      try Disk.syncDirectory(final.parentPath)
      try Disk.remove(path)
    } else {
      try Disk.moveIntoPlace(path, final)
    }
    try catalog.keepingNoOrphan(final, in: .artifacts, record)
  }

  /// Moves an output, and what refines it first, to their final names, and records them together.
  ///
  /// - Parameters:
  ///   - path: The output's working name.
  ///   - digest: The SHA-256 of its bytes.
  ///   - refine: The working name of the codes that refine it, and what they are; nil for none.
  ///   - record: Writes the rows about both.
  /// - Throws: ``TarnError`` when the disk refuses; what `record` throws.
  func put(
    output path: String, _ digest: ContentDigest, refinedBy refine: (path: String, file: RefineShard)?,
    record: () throws -> Void
  ) throws {
    guard let refine else { return try put(path, as: .outputShard, digest, record: record) }
    try put(refine.path, as: .refineShard, refine.file.digest) {
      try put(path, as: .outputShard, digest, record: record)
    }
  }

  /// The files of codes that refine a version; none where nothing does, or none are wanted.
  ///
  /// - Parameters:
  ///   - outputs: Outputs of the version.
  ///   - version: The version, for messages.
  ///   - rows: Rows of each query that somebody wants ordered again, 0 for none; nil where nobody said.
  /// - Returns: One for each output, or none.
  /// - Throws: ``TarnError`` `.inputsMissing` when one is gone, `.usage` where rows are wanted and
  ///   there are no such codes.
  func refinePlaces(
    of outputs: [OutputShard], _ version: IndexVersion, forRows rows: Int? = nil
  ) throws -> [RefinePlace] {
    guard rows != 0 else { return [] }
    let places = try outputs.compactMap { output in
      try output.refine.map { refine in
        RefinePlace(path: try path(ofOutput: refine.digest, of: version, kind: .refineShard), ids: output.ids)
      }
    }
    guard rows == nil || !places.isEmpty else {
      throw TarnError(
        .usage, "\(version.name) has no codes that refine", hint: "leave --refine out; `tarn train --refine` keeps such"
      )
    }
    return places
  }

  /// Where an artifact is, as the catalog has it, or where new bytes of that kind
  /// go; absolute.
  package func path(of kind: StoredKind, _ digest: ContentDigest) throws -> String {
    try catalog.path(of: kind, digest)
  }

  /// The packs of a companion's bytes, in the catalog's order, whose files are there.
  func packs(of digest: ContentDigest) throws -> [(pack: Pack, path: String)] {
    try catalog.packs(of: digest, formatVersions: 1...PackWriter.newestFormatVersion).compactMap { pack in
      let path = try self.path(of: .pack, pack.digest)
      guard Disk.size(of: path) != nil else { return nil }
      return (pack, path)
    }
  }

  /// Where an output of a version, or what refines one, is, to be searched.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` when it is not there, with what brings it back.
  package func path(
    ofOutput digest: ContentDigest, of version: IndexVersion, kind: StoredKind = .outputShard
  ) throws -> String {
    let path = try path(of: kind, digest)
    guard Disk.size(of: path) == nil else { return path }
    guard version.state == .revoked else {
      throw TarnError(
        .inputsMissing,
        "\(kind == .outputShard ? "an output of \(version.name)" : "what refines \(version.name)") is not at \(path)",
        hint: try "`tarn verify --repair` brings it back where the lake has what it is of; else "
          + catalog.wayBack(toOutput: digest, of: version.name))
    }
    // Of an adopted version nobody knows what would make them again.
    var way = "`tarn reproduce \(version.name) --into DIR` makes them again in another directory"
    if try catalog.source(id: version.sourceID).isAdopted {
      let trained = try catalog.trainedIndex(id: version.trainedIndexID).name
      way = "`tarn adopt version \(version.name.name) FILE… --trained \(trained)` takes in what FAISS wrote again"
    }
    throw TarnError(.inputsMissing, "\(version.name) was revoked and its outputs were collected", hint: way)
  }

  /// Bytes of an artifact's file; nil when there is none.
  package func size(of kind: StoredKind, _ digest: ContentDigest) throws -> Int? {
    Disk.size(of: try path(of: kind, digest))
  }

  /// An artifact's path, once its bytes have been read and found right.
  ///
  /// - Parameters:
  ///   - kind: What the file is.
  ///   - digest: What its SHA-256 must be.
  /// - Returns: Its absolute path.
  /// - Throws: ``TarnError`` `.inputsMissing` or `.integrity`.
  package func verified(_ kind: StoredKind, _ digest: ContentDigest) throws -> String {
    let path = try self.path(of: kind, digest)
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
