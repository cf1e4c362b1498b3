// Where things are in a lake: the names of its directories and files.

package import Base

/// The directories and files of one lake.
///
/// ```
/// LAKE/catalog.sqlite        the catalog
/// LAKE/catalog.sqlite-ballast  room for it to commit in on a full disk
/// LAKE/tarn.lock             the lock of commands that write
/// LAKE/tarn.transaction      the lock of one transaction
/// LAKE/leases/…              what each command works with that writes now
/// LAKE/shards/SOURCE/…       fetched shards, a bounded cache
/// LAKE/artifacts/KIND/…      immutable results under their digests
/// LAKE/versions/NAME@N/…     the outputs of a version under names people use
/// LAKE/scratch/…             work in progress, safe to delete when idle
/// LAKE/tasks/NAME@N/…        tasks, receipts and logs of a build or training by --executor
/// ```
package struct LakeLayout: Sendable, Equatable {
  /// The lake's directory, absolute.
  package let root: String
  /// Directory of fetched shards, absolute.
  package let shards: String
  /// Directory of artifacts, absolute.
  package let artifacts: String

  /// The layout of a lake.
  ///
  /// - Parameters:
  ///   - root: The lake's directory.
  ///   - shards: As the catalog keeps it: relative to `root`, or absolute.
  ///   - artifacts: Likewise.
  package init(root: String, shards: String = "shards", artifacts: String = "artifacts") {
    let absolute = LakeLayout.absolute(root)
    self.root = absolute
    self.shards = shards.hasPrefix("/") ? shards : absolute + "/" + shards
    self.artifacts = artifacts.hasPrefix("/") ? artifacts : absolute + "/" + artifacts
  }

  /// The directories of a lake that has none elsewhere, below its own.
  static let ownDirectories = ["shards", "artifacts", "versions", "scratch", "leases"]

  /// Names of the files of a lake.
  static let catalogName = "catalog.sqlite"
  static let lockName = "tarn.lock"
  static let transactionLockName = "tarn.transaction"

  package var catalog: String { "\(root)/\(Self.catalogName)" }
  package var lock: String { "\(root)/\(Self.lockName)" }
  /// The lock that is held from the beginning of a transaction to its end.
  package var transactionLock: String { "\(root)/\(Self.transactionLockName)" }
  /// A file for each command that writes now.
  package var leases: String { root + "/leases" }
  package var scratch: String { root + "/scratch" }
  /// Where tasks go that this lake has engines carry out, by what they are of.
  package var tasks: String { root + "/tasks" }
  /// Where a training keeps its steps, by the digest of its specification.
  package func trainingScratch(_ spec: ContentDigest) -> String { "\(scratch)/train-\(spec.prefix(16))" }
  /// Where a training keeps what it takes out of shards, by the name of the trained
  /// index: the shards' bytes, and so its specification, may not be known yet.
  package func gatherScratch(_ name: String) -> String { "\(scratch)/gather-\(name)" }
  /// Where artifacts grow, on the file system that keeps them.
  package var artifactScratch: String { artifacts + "/.work" }
  package var versions: String { root + "/versions" }

  /// Where a shard's bytes go that were never stored before, relative to ``shards``.
  ///
  /// The name carries the digest's start, so that a newer revision never
  /// overwrites bytes the catalog still vouches for.
  ///
  /// - Parameters:
  ///   - source: Name of the source.
  ///   - shard: File name of the shard.
  ///   - digest: Digest of the bytes.
  /// - Returns: A relative path, `SOURCE/STEM.0123456789abcdef.npy`.
  package static func shardPath(source: String, shard: String, digest: ContentDigest) -> String {
    let (stem, ending) = shard.nameParts
    return "\(source)/\(stem).\(digest.prefix(16))\(ending)"
  }

  /// The directory of a place, absolute.
  package func directory(of place: Place) -> String {
    switch place {
    case .shards: shards
    case .artifacts: artifacts
    }
  }

  /// A file of a place, absolute.
  package func path(_ relative: String, in place: Place) -> String { directory(of: place) + "/" + relative }

  /// The same of a file that is there; nil for others.
  package func existingPath(_ relative: String?, in place: Place) -> String? {
    relative.map { path($0, in: place) }.flatMap { Disk.size(of: $0) == nil ? nil : $0 }
  }

  /// Where a shard's bytes grow while they arrive, absolute.
  package func partPath(source: String, shard: String) -> String {
    "\(shards)/\(source)/\(shard).part"
  }

  /// The shard that a file beside shards is a part of, or is kept with a part of; nil
  /// for other files.
  ///
  /// No shard's name ends as these do.
  package static func shard(ofPart name: String) -> String? {
    let endings = [".part", ".part.resume", ".part.resume.tmp", ".part.import.tmp", ".part" + CommandStaging.ending]
    return endings.first { name.utf8.suffix($0.utf8.count).elementsEqual($0.utf8) }
      .flatMap { String(name.utf8.dropLast($0.utf8.count)) }
  }

  /// Where an artifact goes that was never stored before, relative to
  /// ``artifacts``; where it is, ``LakeCatalog/path(of:_:)`` knows.
  package static func artifactPath(kind: StoredKind, digest: ContentDigest) -> String {
    "\(kind.directory)/\(digest.prefix(2))/\(digest.hex).\(kind.fileExtension)"
  }

  /// What a path relative to ``artifacts`` says of the file there; nil for a path
  /// that is no artifact's.
  package static func artifact(atPath path: String) -> (kind: StoredKind, digest: ContentDigest)? {
    let parts = path.pathParts
    guard parts.count == 3, let digest = ContentDigest(hex: String(parts[2].prefix { $0 != "." })) else { return nil }
    let kind = StoredKind.allCases.first { $0.place == .artifacts && $0.directory == parts[0] }
    return kind.flatMap { artifactPath(kind: $0, digest: digest) == path ? ($0, digest) : nil }
  }

  /// The beginning of a digest in a path that ``shardPath(source:shard:digest:)``
  /// has made; nil in others.
  package static func digestPrefix(ofShardPath path: String) -> String? {
    // Behind the stem; last where the name has no ending.
    let parts = path.lastPathPart.utf8.split(separator: UInt8(ascii: "."))
    return parts.suffix(2).reversed().first { part in
      part.count == 16 && part.allSatisfy(\.isHexDigit)
    }.flatMap { String($0) }
  }

  /// The directory of a version's outputs, absolute.
  package func versionDirectory(_ name: VersionName) -> String { "\(versions)/\(name)" }

  /// The name people use for an output shard.
  package static func outputName(_ name: VersionName, ordinal: Int) -> String {
    "\(name.name).\(ordinal.padded(to: 3)).faiss"
  }

  /// That of the codes that refine an output: no `.faiss`, as that is what outputs are looked for by.
  package static func refineName(_ name: VersionName, ordinal: Int) -> String {
    "\(name.name).\(ordinal.padded(to: 3)).refine"
  }

  /// That of the lock file.
  package static func lockFileName(_ name: VersionName) -> String { "\(name.name).lock.json" }

  /// That of the document.
  package static func documentName(_ name: VersionName) -> String { "\(name.name).export.json" }

  /// An output shard under the name people use, absolute.
  package func outputPath(_ name: VersionName, ordinal: Int) -> String {
    "\(versionDirectory(name))/\(Self.outputName(name, ordinal: ordinal))"
  }

  /// The codes that refine an output, beside it.
  package func refinePath(_ name: VersionName, ordinal: Int) -> String {
    "\(versionDirectory(name))/\(Self.refineName(name, ordinal: ordinal))"
  }

  /// The lock file of a sealed version, absolute.
  package func lockFilePath(_ name: VersionName) -> String { "\(versionDirectory(name))/\(Self.lockFileName(name))" }

  /// The document beside the lock file, as `tarn export` prints it, absolute.
  ///
  /// The lock file proves what it says of bytes; what it adds, such as the
  /// addresses of shards, is what `rebuild-catalog` needs.
  package func documentPath(_ name: VersionName) -> String {
    "\(versionDirectory(name))/\(Self.documentName(name))"
  }

  /// Where a version that was pulled under its own name is from, beside its lock file, absolute.
  ///
  /// The lock file of one that has another name here says so itself.
  package func originPath(_ name: VersionName) -> String { "\(versionDirectory(name))/\(name.name).pulled" }

  /// That a version was revoked or pinned, beside its lock file, absolute.
  func markPath(_ kind: VersionMark.Kind, _ name: VersionName) -> String {
    "\(versionDirectory(name))/\(name.name).\(kind.rawValue)"
  }

  /// Whether there is a catalog in a directory.
  static func isLake(_ directory: String) -> Bool { Disk.size(of: "\(directory)/\(catalogName)") != nil }

  /// The nearest lake at or above a directory.
  ///
  /// - Parameter directory: Where to begin.
  /// - Returns: The lake's directory, or nil when there is none up to the root.
  package static func findRoot(from directory: String) -> String? {
    var path = absolute(directory)
    while true {
      if isLake(path) { return path }
      let parent = path.parentPath
      if parent == path || parent.isEmpty { return nil }
      path = parent
    }
  }

  /// A path made absolute against the working directory, without `.` and `..`.
  package static func absolute(_ path: String) -> String {
    let whole = path.hasPrefix("/") ? path : SystemPath.workingDirectory + "/" + path
    var parts: [String] = []
    for part in whole.pathParts where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }
}
