// What `verify --repair` can make again: an output from its segments, a lock
// file from the catalog. Both must come out as recorded (invariant 3).

package import Base
package import Catalog

/// Makes damaged files of a sealed version again.
package struct VersionRepair {
  private let catalog: LakeCatalog
  private let store: ArtifactStore

  package init(_ catalog: LakeCatalog) {
    self.catalog = catalog
    store = ArtifactStore(catalog: catalog)
  }

  /// Merges an output again from its segments, where they are all in the lake.
  ///
  /// - Parameter digest: Digest of the output.
  /// - Returns: Whether the output is back, under every name it has.
  /// - Throws: ``TarnError``.
  package func rebuildOutput(_ digest: ContentDigest) throws -> Bool {
    for version in try catalog.versions() where version.state == .sealed || version.state == .building {
      for output in try catalog.outputs(of: version) where output.digest == digest {
        return try rebuild(output, of: version)
      }
    }
    return false
  }

  private func rebuild(_ output: OutputShard, of version: IndexVersion) throws -> Bool {
    let record = try catalog.trainedIndex(id: version.trainedIndexID)
    guard let trainedDigest = record.digest else { return false }
    var merge: [MergeInput] = []
    for input in try catalog.inputs(of: version) where input.outputOrdinal == output.ordinal && !input.isHole {
      guard let revision = input.revision,
        let segment = try catalog.segment(
          trained: trainedDigest, shard: revision.digest, badRows: version.badRowsPolicy,
          formatVersion: segmentFormatVersion),
        let path = try? store.verified(.segment, segment.digest)
      else { return false }
      merge.append(MergeInput(segment: try SegmentFile(path: path), firstRowID: input.firstID))
    }
    let trained = try TrainedIndexFile.read(catalog.path(of: .trainedIndex, trainedDigest), digest: trainedDigest)
    let working = try store.workingPath("repair-\(version.id)-\(output.ordinal).faiss")
    let summary = try OutputShardMerge.write(
      merge, trained: trained, trainedDigest: trainedDigest, to: working, temporaryPath: working + ".tmp")
    guard summary.digest == output.digest else {
      try Disk.remove(working)
      return false
    }
    try store.adopt(working, as: .outputShard, summary.digest)
    for other in try catalog.versions() where other.state == .sealed {
      for named in try catalog.outputs(of: other) where named.digest == output.digest {
        try Disk.link(
          catalog.path(of: .outputShard, named.digest), catalog.layout.outputPath(other.name, ordinal: named.ordinal))
        try Disk.syncDirectory(catalog.layout.versionDirectory(other.name))
      }
    }
    return true
  }

  /// Whether the catalog says of a sealed version what its lock file says.
  ///
  /// - Parameter name: The version.
  /// - Returns: Whether the lock file that the catalog gives has the version's
  ///   digest.
  /// - Throws: ``TarnError``.
  package func bearsOut(_ name: VersionName) throws -> Bool {
    let version = try catalog.version(name)
    let record = try catalog.trainedIndex(id: version.trainedIndexID)
    return ContentDigest.of(try VersionFiles(catalog: catalog).lockFile(of: version, record)) == version.versionDigest
  }

  /// Writes the lock file of a sealed version again.
  ///
  /// - Parameter name: The version.
  /// - Returns: Whether its digest is the version's.
  /// - Throws: ``TarnError``.
  package func rewriteLockFile(of name: VersionName) throws -> Bool {
    let version = try catalog.version(name)
    let record = try catalog.trainedIndex(id: version.trainedIndexID)
    let text = try VersionFiles(catalog: catalog).lockFile(of: version, record)
    guard ContentDigest.of(text) == version.versionDigest else { return false }
    try Disk.makeDirectory(catalog.layout.versionDirectory(name))
    try Disk.writeAtomically(Array(text.utf8), to: catalog.layout.lockFilePath(name))
    return true
  }
}
