// Names that people use for outputs: which there are, that they are of the file that the
// artifact is, so that its bytes take room once and are mended once, and that those of
// revoked versions go.

package import Base
internal import GRDB

extension LakeCatalog {
  /// A name of an output, or of what refines one.
  private struct NameInUse {
    /// Absolute.
    let path: String
    /// Whether it is of a version that keeps its names: a sealed one, or one that is pinned.
    let isKept: Bool
  }

  /// The names that people use for an output, or for what refines one, absolute.
  func names(ofOutput digest: ContentDigest) throws -> [String] { try namesInUse(ofOutput: digest).map(\.path) }

  private func namesInUse(ofOutput digest: ContentDigest) throws -> [NameInUse] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT v.name, v.number, (v.state = 'sealed' OR \(IndexVersion.isPinned)) AS is_kept, o.ordinal,
            o.sha256 <> ?1 AS refines
          FROM output_shard o JOIN index_version v ON v.id = o.version_id WHERE o.sha256 = ?1 OR o.refine_sha256 = ?1
          """, arguments: [digest.hex]
      ).map { row in NameInUse(path: path(of: row), isKept: row["is_kept"]) }
    }
  }

  /// The path of a name, of a row that says `name`, `number`, `ordinal` and `refines`.
  private func path(of row: Row) -> String {
    let version = VersionName(name: row["name"], number: row["number"])
    return row["refines"]
      ? layout.refinePath(version, ordinal: row["ordinal"]) : layout.outputPath(version, ordinal: row["ordinal"])
  }

  /// Makes every name of an output one of the artifact's file: of sealed and pinned versions all, of others those that
  /// are there.
  ///
  /// - Parameters:
  ///   - digest: Digest of the output, or of what refines one.
  ///   - artifact: The artifact's file, absolute, whose bytes were read and found right.
  /// - Throws: ``TarnError`` of the disk.
  package func relinkNames(ofOutput digest: ContentDigest, to artifact: String) throws {
    for name in try namesInUse(ofOutput: digest) {
      guard name.isKept || Disk.size(of: name.path) != nil, !FileIdentity.isSame(name.path, artifact) else {
        continue
      }
      try Disk.makeDirectory(name.path.parentPath)
      try relink(artifact, to: name.path)
    }
  }

  /// Gives a version the names of its outputs that are not there, of the artifacts that are.
  func restoreNames(of version: IndexVersion) throws {
    for name in try outputs(of: version).flatMap({ names(of: $0, in: version.name) })
    where Disk.size(of: name.path) == nil {
      let artifact = try path(of: name.kind, name.digest)
      guard Disk.size(of: artifact) == name.byteCount else { continue }
      try Disk.makeDirectory(name.path.parentPath)
      try relink(artifact, to: name.path)
    }
  }

  /// Makes a name that is right one of the artifact's file, where that is right too.
  ///
  /// - Parameter copy: One of ``VerifyReport/copies``.
  /// - Returns: Whether it is.
  /// - Throws: ``TarnError``.
  package func relink(copy: VouchedFile) throws -> Bool {
    guard case .outputName(_, _, let kind) = copy.kind else { return false }
    let artifact = try path(of: kind, copy.digest)
    if FileIdentity.isSame(copy.path, artifact) { return true }
    guard Disk.size(of: artifact) == copy.byteCount, try Disk.digest(of: artifact, isFromDisk: true) == copy.digest
    else { return false }
    try relinkNames(ofOutput: copy.digest, to: artifact)
    return true
  }

  /// Whether an output has rows that are excluded now.
  ///
  /// - Parameters:
  ///   - output: The output.
  ///   - version: A version that has it.
  /// - Returns: Whether some of the rows are excluded that the version was made with.
  /// - Throws: ``TarnError`` of the catalog.
  package func holdsExcludedRows(_ output: OutputShard, of version: IndexVersion) throws -> Bool {
    let excluded = try exclusions(of: source(id: version.sourceID))
    guard !excluded.isEmpty else { return false }
    return try inputs(ofOutput: output.ordinal, of: version).contains { input in
      guard let digest = input.revision?.digest, let rows = excluded[input.shardID]?[digest] else { return false }
      return !Set(rows).isSubset(of: input.excludedRows)
    }
  }

  /// A sealed version whose output of a digest, or what refines it, has rows that are excluded, where that is so of all
  /// that have it; nil where one may have it again, and for none.
  ///
  /// - Parameters:
  ///   - digest: The output's, which versions may share.
  ///   - asked: The one that is given if it has such rows.
  /// - Returns: Its name.
  /// - Throws: ``TarnError`` of the catalog.
  func holderOfExcludedRows(_ digest: ContentDigest, preferring asked: VersionName? = nil) throws -> VersionName? {
    let sealed = try versions().filter { $0.state == .sealed }
    var holder: VersionName?
    for version in sealed.filter({ $0.name == asked }) + sealed.filter({ $0.name != asked }) {
      for output in try outputs(of: version) where [output.digest, output.refine?.digest].contains(digest) {
        guard try holdsExcludedRows(output, of: version) else { return nil }
        holder = holder ?? version.name
      }
    }
    return holder
  }

  /// Names of outputs of versions that were revoked before a time and that nothing has pinned since, which are there,
  /// absolute.
  func namesOfRevoked(until cutoff: String) throws -> [String] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT v.name, v.number, o.ordinal, x.refines FROM output_shard o
          JOIN index_version v ON v.id = o.version_id JOIN (SELECT 0 AS refines UNION SELECT 1) x
          WHERE v.state = 'revoked' AND v.ended_at <= ?1 AND NOT (\(IndexVersion.isPinned))
            AND NOT EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at > ?1)
            AND (x.refines = 0 OR o.refine_sha256 IS NOT NULL)
          ORDER BY v.name, v.number, o.ordinal, x.refines
          """, arguments: [cutoff]
      ).map { path(of: $0) }
    }.filter { Disk.size(of: $0) != nil }
  }
}
