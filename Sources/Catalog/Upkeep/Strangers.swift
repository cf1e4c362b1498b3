// Sealed versions that lie in a lake and that its catalog does not know: what an
// older catalog, put back, finds. Their numbers are taken, their files are kept,
// and every command that writes names them.

package import Base
internal import Foundation
internal import GRDB

/// A version in a lake's directory that the catalog does not know, or knows as one
/// that was never sealed.
package struct StrangerVersion: Sendable {
  package let name: VersionName
  /// Its directory, absolute.
  package let directory: String
  /// The digests that its lock file names: outputs, trained index and shards.
  package let digests: Set<ContentDigest>
  /// Why `rebuild-catalog` could not take it in; nil when it could.
  let obstacle: String?
  /// Whether its digests are not known, as something of it cannot be read.
  let isUnread: Bool

  /// What is so, one line.
  package var message: String { "\(directory) holds \(name), which the catalog does not know" }
  /// What to do about it, one line.
  package var hint: String {
    guard let obstacle else {
      return """
        to keep it, move catalog.sqlite aside and run `tarn rebuild-catalog`; else move that directory out of the lake
        """
    }
    return "move that directory out of the lake (no catalog can be made from it: \(obstacle))"
  }
}

/// The directories of a lake that are named as versions are.
enum VersionDirectories {
  /// Larger numbers are nobody's.
  static let largestNumber = 1_000_000_000

  /// The names of the directories, sorted; what is not named as a version is left out.
  ///
  /// - Throws: ``TarnError`` `.io` when they cannot be read: what is there is not known then.
  static func names(in layout: LakeLayout) throws -> [VersionName] {
    try Disk.namesIfAny(in: layout.versions).compactMap { entry in
      guard let name = try? VersionName(parsing: entry), "\(name)" == entry, name.number <= largestNumber,
        (try? LakeCatalog.validate(name: name.name, of: "version")) != nil
      else { return nil }
      return name
    }.sorted { ($0.name, $0.number) < ($1.name, $1.number) }
  }

  /// Versions with a lock file or a document, which only a sealed one has.
  static func sealed(in layout: LakeLayout) throws -> [VersionName] {
    try names(in: layout).filter { name in
      [layout.lockFilePath(name), layout.documentPath(name)].contains { Disk.size(of: $0) != nil }
    }
  }
}

extension LakeCatalog {
  /// The versions in the lake's directory that the catalog does not know.
  ///
  /// A listing of the directory, as long as there are none.
  ///
  /// - Returns: The versions, by name and number.
  /// - Throws: ``TarnError`` of the catalog.
  package func strangers() throws -> [StrangerVersion] {
    let names = try VersionDirectories.names(in: layout)
    guard !names.isEmpty else { return [] }
    // What a build is about to seal looks like one, and is none.
    let building = session?.held(.version, against: .read) ?? []
    let known = Dictionary(try versions().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    return try names.filter { !building.contains($0.name) }.compactMap { name in
      let directory = layout.versionDirectory(name)
      var (isStranger, isUnread) = (true, false)
      if let version = known[name] {
        do {
          isStranger = try version.versionDigest == nil && isTaken(version)
        } catch let error as TarnError where error.code == .io {
          isUnread = true
        }
      } else if !Disk.isDirectory(directory) {
        isStranger = false
      } else if let files = try? Disk.namesIfAny(in: directory) {
        isStranger = files.contains { !LakeInventory.isTemporary($0) }
      } else {
        isUnread = true
      }
      guard isStranger else { return nil }
      var obstacle: String?
      do {
        _ = try VersionEvidence(name, in: layout)
      } catch let error as TarnError {
        obstacle = error.message
      }
      let digests = isUnread ? nil : digests(ofStranger: name)
      return StrangerVersion(
        name: name, directory: directory, digests: digests ?? [], obstacle: obstacle, isUnread: digests == nil)
    }
  }

  /// Nil where its lock file is there and cannot be read.
  private func digests(ofStranger name: VersionName) -> Set<ContentDigest>? {
    let path = layout.lockFilePath(name)
    if Disk.size(of: path) != nil, (try? Disk.contents(of: path)) == nil { return nil }
    guard let lock = VersionEvidence.LockFile(at: path) else { return [] }
    return Set(
      lock.outputs.flatMap { [$0.sha256] + [$0.refine?.sha256].compactMap(\.self) } + lock.inputs.compactMap(\.sha256)
        + [lock.trained.sha256])
  }

  /// The largest number that a directory of a version of this name has; 0 without one.
  func largestNumberOnDisk(of name: String) throws -> Int {
    try VersionDirectories.names(in: layout).filter { $0.name == name }.map(\.number).max() ?? 0
  }

  /// Whether the directory of a version that is not sealed holds the files of
  /// another one: a lock file, a document or outputs that are not what was recorded.
  ///
  /// - Parameter version: A version, planned, building or abandoned.
  /// - Returns: False too while its own files are there, as a run leaves them that
  ///   died before it could say that the version is sealed.
  /// - Throws: ``TarnError`` of the catalog; `.io` for a directory that cannot be read.
  func isTaken(_ version: IndexVersion) throws -> Bool {
    let directory = layout.versionDirectory(version.name)
    let files = try Disk.namesIfAny(in: directory)
    guard !files.isEmpty else { return false }
    let outputs = try outputs(of: version)
    let lockPath = layout.lockFilePath(version.name)
    if Disk.size(of: lockPath) != nil {
      guard let lock = VersionEvidence.LockFile(at: lockPath), lock.version == "\(version.sealedName)" else {
        return true
      }
      let inputs = try inputs(of: version)
      let isOwn =
        lock.outputs.map(\.sha256) == outputs.map(\.digest)
        && lock.outputs.map(\.refine?.sha256) == outputs.map(\.refine?.digest)
        && lock.inputs.map(\.shard) == inputs.map(\.shardName)
        && lock.inputs.map(\.sha256) == inputs.map { $0.isHole ? nil : $0.revision?.digest }
      guard isOwn else { return true }
    } else if Disk.size(of: layout.documentPath(version.name)) != nil {
      // A document comes after its lock file.
      return true
    }
    let own = Dictionary(
      outputs.flatMap { names(of: $0, in: version.name) }.map { ($0.path, $0) },
      uniquingKeysWith: { first, _ in first })
    return try files.filter { $0.hasSuffix(".faiss") || $0.hasSuffix(".refine") }.contains { file in
      guard let name = own["\(directory)/\(file)"] else { return true }
      return try !isInPlace(name)
    }
  }

  /// A name that people use for a file of a version.
  package struct OutputName: Sendable {
    /// Absolute.
    package let path: String
    package let kind: StoredKind
    package let digest: ContentDigest
    package let byteCount: Int
  }

  /// The names of an output in the directory of a version: its own, and that of what refines it.
  package func names(of output: OutputShard, in version: VersionName) -> [OutputName] {
    let own = OutputName(
      path: layout.outputPath(version, ordinal: output.ordinal), kind: .outputShard, digest: output.digest,
      byteCount: output.byteCount)
    guard let refine = output.refine else { return [own] }
    return [
      own,
      OutputName(
        path: layout.refinePath(version, ordinal: output.ordinal), kind: .refineShard, digest: refine.digest,
        byteCount: refine.byteCount),
    ]
  }

  /// Whether a name is there and of the file that it should be of: a link to the artifact, or a copy.
  ///
  /// - Throws: ``TarnError`` of the catalog, `.io` for a file that cannot be read.
  package func isInPlace(_ name: OutputName) throws -> Bool {
    if FileIdentity.isSame(name.path, try path(of: name.kind, name.digest)) { return true }
    return try Disk.size(of: name.path) == name.byteCount && Disk.digest(of: name.path) == name.digest
  }
}

/// What lies under a name that a sealed version's file should have.
package enum SealedFile {
  /// Whether a file reads as the lock file or the document of a version, whatever
  /// sealing of it they tell of.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - name: The version.
  /// - Returns: True too for the catalog's own sealing.
  package static func isSealing(_ path: String, of name: VersionName) -> Bool {
    if let lock = VersionEvidence.LockFile(at: path) { return lock.version == "\(name)" }
    return (try? VersionExport(reading: path))?.version == "\(name)"
  }
}
