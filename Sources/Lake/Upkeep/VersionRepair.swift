// What `verify --repair` can make again: an output from its segments or shards,
// a lock file and a document from the catalog. They must come out as recorded
// (invariant 3).

package import Logging
package import Base
internal import Catalog
internal import Indexer
internal import Tasks

/// Makes damaged files of a sealed version again.
package struct VersionRepair {
  private let catalog: LakeCatalog
  private let store: ArtifactStore
  private let cancellation: Cancellation
  private let logger: Logger

  package init(_ catalog: LakeCatalog, cancellation: Cancellation, logger: Logger) {
    self.catalog = catalog
    self.cancellation = cancellation
    self.logger = logger
    store = ArtifactStore(catalog)
  }

  /// Makes an output again from its segments, and those from shards, as far as
  /// they are in the lake.
  ///
  /// One of which all sources exclude rows is not: they are on their way out. What one of them takes out, another may have.
  ///
  /// - Parameter digest: Digest of the output.
  /// - Returns: Whether the output is back, under every name it has.
  /// - Throws: ``TarnError``.
  package func rebuildOutput(_ digest: ContentDigest) throws -> Bool {
    var holder: String?
    // Other versions of a source have the same rows of it there.
    var asked: Set<Int64> = []
    for version in try catalog.versions() where version.state == .sealed || version.state == .building {
      for output in try catalog.outputs(of: version) where [output.digest, output.refine?.digest].contains(digest) {
        guard asked.insert(version.sourceID).inserted else { continue }
        if try catalog.holdsExcludedRows(output, of: version) {
          holder = holder ?? "output \(output.ordinal) of \(version.name)"
        } else if try rebuild(digest, of: output, of: version) {
          return true
        }
      }
    }
    if let holder { logger.warning("\(holder) has rows that are excluded, and is not made again") }
    return false
  }

  private func rebuild(_ digest: ContentDigest, of output: OutputShard, of version: IndexVersion) throws -> Bool {
    let refines = digest != output.digest
    let inputs = try catalog.inputs(of: version)
    let terms = try catalog.terms(of: version)
    let executor = OutputExecutor(
      terms, shards: LakeShards(catalog, try catalog.source(id: version.sourceID), inputs: inputs),
      segments: LakeSegments(catalog, terms, verifies: true),
      rowCount: output.rowCount, cancellation: cancellation, logger: logger)
    try catalog.requireRoom(
      for: "output \(output.ordinal) of \(version.name)",
      [
        RoomNeed(
          at: catalog.layout.artifacts, byteCount: 2 * (refines ? output.refine?.byteCount ?? 0 : output.byteCount))
      ])
    try OpenFiles.require(
      inputs.count { $0.outputOrdinal == output.ordinal }, hint: "repair it where more files may be open")
    let working = try store.workingPath("repair-\(version.id)-\(output.ordinal).faiss")
    let found: ContentDigest?
    do {
      let task = OutputTask(output.ordinal, of: inputs)
      for input in task.bound { try executor.encode(input) }
      found =
        refines ? try executor.refine(task, to: working)?.digest : try executor.merge(task, to: working).digest
    } catch let error as TarnError where error.code == .inputsMissing {
      return false
    }
    guard found == digest else {
      try Disk.remove(working)
      return false
    }
    let kind: StoredKind = refines ? .refineShard : .outputShard
    try store.put(working, as: kind, digest)
    try catalog.relinkNames(ofOutput: digest, to: store.path(of: kind, digest))
    return true
  }

  /// Writes the lock file of a sealed version again.
  ///
  /// - Parameter name: The version.
  /// - Returns: Whether its digest is the version's.
  /// - Throws: ``TarnError``.
  package func rewriteLockFile(of name: VersionName) throws -> Bool {
    let version = try catalog.version(name)
    let files = VersionFiles(catalog: catalog)
    let text = try files.sealedText(of: version)
    guard ContentDigest.of(text) == version.versionDigest else { return false }
    try Disk.makeDirectory(catalog.layout.versionDirectory(name))
    try files.restore(text, to: catalog.layout.lockFilePath(name), of: version)
    return true
  }

  /// Writes the document of a sealed version again, from what the catalog bears
  /// out.
  ///
  /// - Parameter name: The version.
  /// - Returns: Whether the document is back and holds.
  /// - Throws: ``TarnError``.
  package func rewriteDocument(of name: VersionName) throws -> Bool {
    let version = try catalog.version(name)
    guard let digest = version.versionDigest, try catalog.verdict(of: version).catalog.isClean else { return false }
    try Disk.makeDirectory(catalog.layout.versionDirectory(name))
    try VersionFiles(catalog: catalog).writeDocument(of: version, digest)
    return try catalog.verdict(of: version).document.isClean
  }
}
