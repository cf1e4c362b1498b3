// `rebuild-catalog`: a catalog made again from a lake's files, and held against
// the lock files it must bear out.

internal import Base
package import Catalog

/// Makes a lost catalog again.
package struct RebuildRun {
  private let root: String
  private let shards: String
  private let artifacts: String
  private let cancellation: Cancellation

  /// Prepares to make a catalog.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - shards: Directory of fetched shards, relative to `root` or absolute.
  ///   - artifacts: Directory of results, relative to `root` or absolute.
  ///   - cancellation: Asked before each file; then nothing has changed.
  package init(root: String, shards: String, artifacts: String, cancellation: Cancellation) {
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
    var summary = try LakeCatalog.rebuild(root: root, shards: shards, artifacts: artifacts) { path in
      try cancellation.check()
      report(path)
    }
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    for name in summary.versions where try !bearsOut(name, in: catalog) {
      summary.remarks.append("\(name): the catalog does not bear its lock file out")
    }
    return summary
  }

  /// Whether the catalog says of a sealed version what its lock file says.
  private func bearsOut(_ name: VersionName, in catalog: LakeCatalog) throws -> Bool {
    let version = try catalog.version(name)
    return ContentDigest.of(try VersionFiles(catalog: catalog).lockFile(of: version)) == version.versionDigest
  }
}
