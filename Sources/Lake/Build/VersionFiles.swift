// What lies in LAKE/versions/NAME@N: the outputs under names people use, the
// lock file, whose digest is the version's, the version's document, and of one that
// was pulled the place that it is from. The one place that puts them there, where
// nothing of another version is ever replaced: what is not sealed yet takes free
// names alone, and of a sealed version what is not another sealing's may be written over.

internal import Base
internal import Catalog
internal import Indexer

/// The directory of a version.
struct VersionFiles {
  let catalog: LakeCatalog

  /// Gives every finished output its name, and a sealed version its lock file;
  /// what is there already is left alone.
  func restoreNames(of version: IndexVersion) throws {
    try Disk.makeDirectory(catalog.layout.versionDirectory(version.name))
    for (output, name) in try catalog.outputs(of: version).flatMap({ output in
      catalog.names(of: output, in: version.name).map { (output, $0) }
    }) {
      let size = Disk.size(of: name.path)
      if version.versionDigest == nil, size != nil, try !catalog.isInPlace(name) { throw taken(version, name.path) }
      guard size != name.byteCount else { continue }
      let file = try ArtifactStore(catalog).path(of: name.kind, name.digest)
      guard Disk.size(of: file) != nil else {
        let what = name.kind == .outputShard ? "output" : "what refines output"
        throw TarnError(
          .inputsMissing,
          "\(what) \(output.ordinal) of \(version.name), which was sealed before, is gone from the lake",
          hint: "`tarn verify --repair` makes it again, or `tarn revoke \(version.name)` and build the next")
      }
      try Disk.link(file, name.path)
    }
    try Disk.syncDirectory(catalog.layout.versionDirectory(version.name))
    guard let digest = version.versionDigest else { return }
    try restoreLockFile(of: version, digest)
    try writeDocument(of: version, digest)
  }

  private func restoreLockFile(of version: IndexVersion, _ digest: ContentDigest) throws {
    let path = catalog.layout.lockFilePath(version.name)
    guard (try? Disk.digest(of: path)) != digest else { return }
    let text = try sealedText(of: version)
    guard ContentDigest.of(text) == digest else {
      throw TarnError(.integrity, "the catalog no longer says what \(version.name) was sealed with")
    }
    try restore(text, to: path, of: version)
  }

  /// Puts the lock file of a version in place that is about to be sealed.
  ///
  /// - Throws: ``TarnError`` `.conflict` when another version's is there.
  func writeLockFile(_ text: String, of version: IndexVersion) throws {
    let path = catalog.layout.lockFilePath(version.name)
    do {
      try Disk.writeOnce(Array(text.utf8), to: path)
    } catch let error as TarnError where error.code == .conflict {
      throw taken(version, path)
    }
  }

  /// Says beside a version that is pulled under its own name where it is from: its lock file says nothing of that, and
  /// a catalog that is made again takes what others made for no word of this lake's.
  ///
  /// - Parameters:
  ///   - place: Where its files were, without secrets.
  ///   - version: The version, whose directory is there.
  /// - Throws: ``TarnError`` when the disk refuses.
  func writeOrigin(_ place: String, of version: IndexVersion) throws {
    guard version.publishedName == nil else { return }
    try Disk.writeAtomically(Array((place + "\n").utf8), to: catalog.layout.originPath(version.name))
  }

  /// Writes a file of a sealed version again; what reads as another sealing of it
  /// gets another name first.
  func restore(_ text: String, to path: String, of version: IndexVersion) throws {
    if SealedFile.isSealing(path, of: version.sealedName) {
      var number = 1
      while Disk.size(of: "\(path).other-\(number)") != nil { number += 1 }
      try Disk.moveIntoPlace(path, "\(path).other-\(number)")
    }
    try Disk.writeAtomically(Array(text.utf8), to: path)
  }

  private func taken(_ version: IndexVersion, _ path: String) -> TarnError {
    TarnError(
      .conflict, "\(path) is there already, of another \(version.name) that the catalog does not know",
      hint: "the same `tarn build` again takes the next number")
  }

  /// The text that a version was sealed with: as the catalog keeps it, or, of a
  /// version from before texts were kept, made again from what the catalog says.
  ///
  /// - Parameter version: A sealed version.
  /// - Returns: The text; the version's digest proves it.
  /// - Throws: ``TarnError``.
  func sealedText(of version: IndexVersion) throws -> String {
    try catalog.lockText(of: version) ?? lockFile(of: version)
  }

  /// Writes what `tarn export` prints beside the lock file, unless it is there.
  ///
  /// - Parameters:
  ///   - version: A version with all its outputs recorded.
  ///   - digest: Digest of its lock file.
  /// - Throws: ``TarnError`` when the disk refuses.
  func writeDocument(of version: IndexVersion, _ digest: ContentDigest) throws {
    let path = catalog.layout.documentPath(version.name)
    // Of a sealed version only what the catalog still bears out.
    let document =
      try version.versionDigest == nil ? catalog.export(version, digest: digest) : catalog.export(version.name)
    if let known = try? VersionExport(reading: path), try catalog.isSame(known, as: document, of: version) { return }
    try restore(document.text() + "\n", to: path, of: version)
  }

  /// The lock file: canonical JSON of all that a rebuild needs and must give.
  ///
  /// - Parameter version: A version with all its outputs recorded.
  /// - Returns: The text; its SHA-256 is the version's digest.
  /// - Throws: ``TarnError``.
  func lockFile(of version: IndexVersion) throws -> String {
    try catalog.lockContent(of: version, segmentFormat: segmentFormatVersion).text + "\n"
  }
}

extension LakeCatalog {
  /// Seals a version once every output was read back and its lock file and document are
  /// durable beside the outputs (invariant 1), and its rows were held against the rules of its source.
  ///
  /// - Parameters:
  ///   - version: A version whose outputs are all recorded.
  ///   - verified: Numbers of the outputs that this run has read back.
  ///   - cancellation: Asked between rows that are looked at.
  /// - Throws: ``TarnError``.
  func seal(_ version: IndexVersion, verified: Set<Int>, _ cancellation: Cancellation) throws {
    if let lack = try applyRules(to: version, since: version.plannedAt, cancellation) {
      throw TarnError(
        lack.code, "\(version.name) is whole and not sealed: \(lack.message)",
        hint: (lack.hint.map { $0 + "; " } ?? "") + "then the same command seals it")
    }
    for output in try outputs(of: version) where !verified.contains(output.ordinal) {
      _ = try ArtifactStore(self).verified(.outputShard, output.digest)
      if let refine = output.refine { _ = try ArtifactStore(self).verified(.refineShard, refine.digest) }
    }
    let files = VersionFiles(catalog: self)
    try files.restoreNames(of: version)
    let lock = try files.lockFile(of: version)
    try files.writeLockFile(lock, of: version)
    try files.writeDocument(of: version, .of(lock))
    try seal(version, lock: lock)
  }
}
