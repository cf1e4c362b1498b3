// `rebuild-catalog`: a catalog made again from a lake's files, and held against
// the lock files it must bear out.

internal import Base
package import Catalog
internal import Features
internal import Foundation
internal import Indexer

/// Makes a lost catalog again.
package struct RebuildRun {
  private let root: String
  private let shards: String
  private let artifacts: String
  private let allowsInside: Bool
  private let wait: Duration
  private let cancellation: Cancellation

  /// Prepares to make a catalog.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - shards: Directory of fetched shards, relative to `root` or absolute.
  ///   - artifacts: Directory of results, relative to `root` or absolute.
  ///   - allowsInside: Whether the documents' addresses may lead to this machine,
  ///     its files and its network.
  ///   - wait: How long to wait for others that have the lake.
  ///   - cancellation: Asked before each file; then nothing has changed.
  package init(
    root: String, shards: String, artifacts: String, allowsInside: Bool = false, wait: Duration = .zero,
    cancellation: Cancellation
  ) {
    self.allowsInside = allowsInside
    self.wait = wait
    self.root = root
    self.shards = shards
    self.artifacts = artifacts
    self.cancellation = cancellation
  }

  /// Makes the catalog.
  ///
  /// - Parameter report: Told of each file that is read.
  /// - Returns: What the new catalog holds, and a remark for each thing that
  ///   could not be made again whole.
  /// - Throws: ``TarnError`` as ``Catalog/LakeCatalog/rebuild`` does.
  package func run(report: @escaping (String) -> Void) throws -> RebuildSummary {
    cancellation.listen()
    var summary = try LakeCatalog.rebuild(
      root: root, shards: shards, artifacts: artifacts, wait: wait, tools: tools
    ) { path in
      try cancellation.check()
      report(path)
    }
    if allowsInside {
      let catalog = try LakeCatalog.open(root: root, writing: "rebuild-catalog")
      for source in try catalog.sources() { try catalog.trustAddresses(of: source) }
    }
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    for name in summary.versions where try !bearsOut(name, in: catalog) {
      summary.remarks.append("\(name): the catalog does not bear its lock file out")
    }
    summary.adopted = try summary.versions.filter { name in
      let version = try catalog.version(name)
      let isAdopted = try catalog.source(id: version.sourceID).isAdopted
      return isAdopted && version.state == .sealed && Disk.size(of: catalog.layout.originPath(name)) == nil
    }
    return summary
  }

  private var tools: RebuildTools {
    RebuildTools(
      rowCount: { path, array, dimension, type in
        try FeatureFile.rowCount(
          of: path, as: FeatureFormat(ofFile: path), array: array, dimension: dimension, elementType: type)
      },
      takeTrainedIndex: { [cancellation] digest, outputs, path in
        let working = path + ".again.tmp"
        try Disk.makeDirectory(path.parentPath)
        guard
          let byteCount = try TrainedIndexRecovery.write(digest, outOf: outputs, to: working, cancellation)
        else { return nil }
        try Disk.moveIntoPlace(working, path)
        return byteCount
      },
      trainedByteCount: { codec, dimension, nlist, hasRouter, refine in
        VectorCodec(rawValue: codec).flatMap {
          TrainedIndexFile.byteCount(
            codec: $0, dimension: dimension, nlist: nlist, hasAssigner: hasRouter,
            refine: refine.flatMap { VectorCodec(rawValue: $0) })
        }
      },
      segment: { path in
        (try? SegmentFile(path: path)).map { file in
          SegmentClaim(
            trained: file.description.trainedIndex, shard: file.description.shard,
            arrayMark: file.description.arrayMark, formatVersion: segmentFormatVersion,
            rowCount: file.rowCount, badRowCount: file.rowCount - file.storedRowCount)
        }
      },
      provedSegments: { [cancellation] segments, output, refine in
        try SegmentProof.proved(
          segments.map {
            MergeInput(segment: try SegmentFile(path: $0.path), firstRowID: $0.firstID, excluded: $0.excluded)
          },
          by: OutputShardFile(path: output),
          refine: refine.map { (try RefineFile(path: $0.path), $0.firstID) }, checkpoint: { try cancellation.check() })
      })
  }

  /// Whether the catalog says of a sealed version what its lock file says.
  private func bearsOut(_ name: VersionName, in catalog: LakeCatalog) throws -> Bool {
    let version = try catalog.version(name)
    return ContentDigest.of(try VersionFiles(catalog: catalog).lockFile(of: version)) == version.versionDigest
  }
}
