// `verify`: everything the catalog vouches for is read again, the longest
// unread first, so that runs with a budget add up to a whole one, and what it
// states for good is held against whatever else tells of it. What is wrong is
// named exactly; `repair` brings back what the lake can.

package import Base
internal import Foundation
internal import GRDB
internal import Glibc

/// A file that the catalog vouches for.
package struct VouchedFile: Sendable {
  /// What it is.
  package enum Kind: Sendable, Equatable {
    case shard(id: Int64)
    /// Bytes that a shard had before its newest.
    case keptRevision
    case artifact(StoredKind)
    /// The name that people use for an output shard, or for what refines one.
    case outputName(versionID: Int64, ordinal: Int, StoredKind)
    case lockFile(versionID: Int64)
    /// What `tarn export` printed when the version was sealed.
    case document(version: VersionName)
    /// Statements of the catalog; their path is the catalog's.
    case record
    /// The history in the catalog; its path is the catalog's.
    case history

    /// The kind in one word, as reports have it.
    package var word: String {
      switch self {
      case .shard: "shard"
      case .keptRevision: "old-revision"
      case .artifact(let kind): kind.rawValue
      case .outputName: "output-name"
      case .lockFile: "lock-file"
      case .document: "document"
      case .record: "record"
      case .history: "history"
      }
    }
  }

  package let kind: Kind
  /// Absolute.
  package let path: String
  /// `SOURCE/SHARD`, `NAME@N`, or the digest's beginning.
  package let name: String
  /// Of nothing where ``statedDigest`` is nil.
  package let digest: ContentDigest
  /// Nil when the catalog does not record it.
  package let byteCount: Int?

  /// What its bytes must have; nil for what is judged by what it says.
  package var statedDigest: ContentDigest? {
    switch kind {
    case .document, .record, .history: nil
    case .shard, .keptRevision, .artifact, .outputName, .lockFile: digest
    }
  }
}

/// What is wrong with a file.
package struct Damage: Sendable {
  package enum Problem: Sendable, Equatable {
    case missing
    case size(found: Int)
    case content(found: ContentDigest)
    /// It cannot be opened, so nobody knows what it holds.
    case unreadable(String)
    /// It was opened, and the disk did not give its bytes.
    case failing(String)
    /// Number of the first event that is not what the chain says.
    case brokenChain(event: Int)
    /// What it states and what that must be, field by field.
    case statements([StatementVerdict.Difference])
    /// Something that was noted elsewhere is not so.
    case unexpected(String)

    /// The problem in one word, as reports have it.
    package var word: String {
      switch self {
      case .missing: "missing"
      case .size: "size"
      case .content: "content"
      case .unreadable: "unreadable"
      case .failing: "failing"
      case .brokenChain: "broken-chain"
      case .statements: "statements"
      case .unexpected: "unexpected"
      }
    }
  }

  package let file: VouchedFile
  package let problem: Problem
  /// Which chunks of a shard differ, as people read them: `3, 17-18 of 87`; nil
  /// when that is not known.
  package var chunks: String?

  /// Whether what is there could not be opened; it may be whole, and is left alone.
  package var isUnreadable: Bool { if case .unreadable = problem { true } else { false } }

  /// One line for people, without the path.
  package var message: String { text + (chunks.map { ": chunks \($0)" } ?? "") }

  private var text: String {
    switch problem {
    case .missing: "is missing"
    case .size(let found): "has \(found) bytes instead of \(file.byteCount ?? 0)"
    case .content(let found): "has SHA-256 \(found.prefix(12))… instead of \(file.digest.prefix(12))…"
    case .unreadable(let reason), .failing(let reason): "cannot be read: \(reason)"
    case .brokenChain(let event): "was changed at event \(event)"
    case .statements(let differences): differences.map(\.message).joined(separator: ", ")
    case .unexpected(let what): what
    }
  }
}

/// How much to read in one run.
package struct VerifyBudget: Sendable {
  package var byteCount: Int?
  package var duration: Duration?

  package init(byteCount: Int? = nil, duration: Duration? = nil) {
    self.byteCount = byteCount
    self.duration = duration
  }
}

/// What a verification found.
package struct VerifyReport: Sendable {
  package var checkedCount = 0
  package var checkedByteCount = 0
  /// Files that the budget did not reach, and their bytes.
  package var leftCount = 0
  package var leftByteCount = 0
  /// When the least recently verified file was read, after this run.
  package var oldestCheck: String?
  package var damages: [Damage] = []
  /// Names of outputs that are right and not of the artifact's file, so that both take room.
  package var copies: [VouchedFile] = []
  /// What was not checked, and why.
  package var unchecked: [StatementVerdict.Omission] = []
}

/// What became of a damaged file.
package enum RepairOutcome: String, Sendable {
  /// The bytes are back.
  case restored
  /// The catalog does not count on the file any more; the next run that needs
  /// it fetches or makes it.
  case givenUp = "given-up"
  /// Nothing that was allowed could replace it: it stays where it is, and is named again.
  case kept
  /// The lake cannot bring it back by itself.
  case lost
}

extension LakeCatalog {
  /// Reads again what the catalog vouches for.
  ///
  /// - Parameters:
  ///   - budget: How much to read; files are not read in part, and at least one
  ///     is. Names, lock files, documents, the catalog's own statements and the
  ///     history are small and always checked.
  ///   - isCancelled: Asked before each file; true ends the run early.
  ///   - report: Told of each file that was read.
  /// - Returns: What was found. Good files are recorded as verified.
  /// - Throws: ``TarnError`` of the catalog; damage is in the report.
  package func verify(
    _ budget: VerifyBudget = VerifyBudget(), isCancelled: () -> Bool = { false },
    report: (VouchedFile, _ done: VerifyReport) -> Void = { _, _ in }
  ) throws -> VerifyReport {
    var result = VerifyReport()
    let files = try vouchedFiles()
    let deadline = budget.duration.map { ContinuousClock.now + $0 }
    var good: [VouchedFile] = []
    var next = 0
    while next < files.count {
      let file = files[next].file
      let isOver =
        deadline.map { ContinuousClock.now >= $0 } ?? false
        || budget.byteCount.map { result.checkedByteCount + (file.byteCount ?? 0) > $0 } ?? false
      if isCancelled() || (isOver && next > 0) { break }
      next += 1
      if let problem = LakeCatalog.problem(with: file) {
        result.damages.append(Damage(file: file, problem: problem))
      } else {
        good.append(file)
      }
      result.checkedCount += 1
      result.checkedByteCount += file.byteCount ?? 0
      if good.count >= 200 { try markVerified(&good) }
      report(file, result)
    }
    try markVerified(&good)
    for file in files[next...] {
      result.leftCount += 1
      result.leftByteCount += file.file.byteCount ?? 0
    }
    result.oldestCheck = next < files.count ? files[next].checkedAt : nil
    for (file, artifact) in try versionFiles() {
      // A name of an artifact, which has been read already.
      if let artifact, FileIdentity.isSame(file.path, artifact) { continue }
      if let problem = LakeCatalog.problem(with: file) {
        result.damages.append(Damage(file: file, problem: problem))
      } else if let artifact, Disk.size(of: artifact) == file.byteCount {
        result.copies.append(file)
      }
    }
    let broken = try firstBrokenEvent()
    if let broken { result.damages.append(historyDamage(.brokenChain(event: broken))) }
    let facts = try facts(believesHistory: broken == nil)
    result.damages += statementDamages(facts)
    result.unchecked = facts.unchecked
    return result
  }

  /// Damage of the history.
  func historyDamage(_ problem: Damage.Problem) -> Damage {
    let history = VouchedFile(
      kind: .history, path: layout.catalog, name: "the history", digest: .of(""), byteCount: nil)
    return Damage(file: history, problem: problem)
  }

  /// Damage of a statement of the catalog.
  func recordDamage(_ subject: String, _ problem: Damage.Problem) -> Damage {
    let record = VouchedFile(kind: .record, path: layout.catalog, name: subject, digest: .of(""), byteCount: nil)
    return Damage(file: record, problem: problem)
  }

  /// A damage for each statement of the catalog that does not hold, and one for
  /// each document.
  private func statementDamages(_ facts: CatalogFacts) -> [Damage] {
    var damages: [Damage] = []
    for fact in facts.statements {
      damages += fact.verdict.differences.map { recordDamage(fact.subject, .statements([$0])) }
    }
    for sealed in facts.sealed where !sealed.document.isClean {
      let path = layout.documentPath(sealed.version)
      let file = VouchedFile(
        kind: .document(version: sealed.version), path: path, name: "\(sealed.version)", digest: .of(""), byteCount: nil
      )
      damages.append(
        Damage(file: file, problem: Disk.size(of: path) == nil ? .missing : .statements(sealed.document.differences)))
    }
    return damages
  }

  /// Shards and artifacts with when they were last read, the oldest first.
  private func vouchedFiles() throws -> [(file: VouchedFile, checkedAt: String)] {
    let shards = layout.shards
    let artifacts = layout.artifacts
    let kept = Dictionary(
      uniqueKeysWithValues: try keptRevisions().map { ($0.digest, "\($0.sourceName)/\($0.shardName)") })
    return try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT min(h.id) AS shard_id, b.kind, b.path, s.name || '/' || h.name AS name, b.sha256, b.byte_count,
            coalesce(b.verified_at, b.created_at) AS checked_at
          FROM shard h JOIN source s ON s.id = h.source_id
          JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
          JOIN stored_bytes b ON b.sha256 = r.sha256 AND b.place = 'shards'
          WHERE h.state = 'present' GROUP BY b.sha256
          UNION ALL
          SELECT NULL, kind, path, substr(sha256, 1, 12), sha256, byte_count, coalesce(verified_at, created_at)
          FROM stored_bytes WHERE state = 'present' AND (place = 'artifacts' OR deleting_at IS NOT NULL)
          ORDER BY checked_at, path
          """
      ).map { row in
        let shardID = row["shard_id"] as Int64?
        let stored: StoredKind = try row.named("kind")
        let digest = try row.requiredDigest("sha256")
        let kind: VouchedFile.Kind =
          if let shardID { .shard(id: shardID) } else { stored == .shard ? .keptRevision : .artifact(stored) }
        let path: String = row["path"]
        let name: String = row["name"]
        return (
          VouchedFile(
            kind: kind, path: (stored == .shard ? shards : artifacts) + "/" + path, name: kept[digest] ?? name,
            digest: digest, byteCount: row["byte_count"]),
          row["checked_at"]
        )
      }
    }
  }

  /// What rests on an artifact: versions for an output, and trained indexes.
  package func users(of digest: ContentDigest) throws -> [String] {
    try read { database in
      try String.fetchAll(
        database,
        sql: """
          SELECT DISTINCT v.name || '@' || v.number FROM output_shard o JOIN index_version v ON v.id = o.version_id
          WHERE o.sha256 = ?1 OR o.refine_sha256 = ?1
          UNION SELECT name FROM trained_index WHERE sha256 = ?1 ORDER BY 1
          """, arguments: [digest.hex])
    }
  }

  /// What is done about an output, or codes that refine one, that nothing in the lake brings back.
  ///
  /// - Parameters:
  ///   - digest: Their digest.
  ///   - version: A version that has them, which is named if it can be made again; nil for any.
  /// - Returns: The advice, one line.
  /// - Throws: ``TarnError`` of the catalog.
  package func wayBack(toOutput digest: ContentDigest, of version: VersionName? = nil) throws -> String {
    if let holder = try holderOfExcludedRows(digest, preferring: version) {
      return "it has rows of \(holder) that are excluded, and nothing brings them back: the next `tarn build` is "
        + "without them, and `tarn revoke \(holder) --reason TEXT` withdraws \(holder)"
    }
    let name = try read { database in
      try String.fetchOne(
        database,
        sql: """
          SELECT v.name || '@' || v.number FROM output_shard o JOIN index_version v ON v.id = o.version_id
          JOIN source s ON s.id = v.source_id
          WHERE (o.sha256 = ?1 OR o.refine_sha256 = ?1) AND v.state IN ('sealed', 'revoked') AND s.modality <> ?2
          ORDER BY v.name = ?3 AND v.number = ?4 DESC, v.state = 'revoked', v.name, v.number DESC LIMIT 1
          """, arguments: [digest.hex, Modality.index.rawValue, version?.name, version?.number])
    }
    return "restore the file" + (name.map { ", or `tarn reproduce \($0) --into DIR --fetch` makes it again" } ?? "")
  }

  /// Names and lock files of the sealed versions whose outputs are here; names
  /// with the artifact that they are of, absolute.
  private func versionFiles() throws -> [(file: VouchedFile, artifact: String?)] {
    let layout = layout
    return try read { database in
      let names = try Row.fetchAll(
        database,
        sql: """
          SELECT v.id, v.name, v.number, o.ordinal, b.sha256, b.byte_count, b.path,
            o.sha256 <> b.sha256 AS refines FROM output_shard o
          JOIN index_version v ON v.id = o.version_id AND v.state = 'sealed'
          JOIN stored_bytes b ON b.sha256 IN (o.sha256, o.refine_sha256) AND b.place = 'artifacts'
          ORDER BY v.name, v.number, o.ordinal, refines
          """
      ).map { row -> (file: VouchedFile, artifact: String?) in
        let version = VersionName(name: row["name"], number: row["number"])
        let (ordinal, refines): (Int, Bool) = (row["ordinal"], row["refines"])
        let file = VouchedFile(
          kind: .outputName(versionID: row["id"], ordinal: ordinal, refines ? .refineShard : .outputShard),
          path: refines ? layout.refinePath(version, ordinal: ordinal) : layout.outputPath(version, ordinal: ordinal),
          name: "\(version)",
          digest: try row.requiredDigest("sha256"), byteCount: row["byte_count"])
        return (file, layout.path(row["path"], in: .artifacts))
      }
      let locks = try IndexVersion.fetchAll(
        database, sql: "SELECT * FROM index_version WHERE state = 'sealed' ORDER BY name, number"
      ).compactMap { version -> (file: VouchedFile, artifact: String?)? in
        version.versionDigest.map {
          let file = VouchedFile(
            kind: .lockFile(versionID: version.id), path: layout.lockFilePath(version.name), name: "\(version.name)",
            digest: $0, byteCount: nil)
          return (file, nil)
        }
      }
      return names + locks
    }
  }

  /// What is wrong with a file; nil when it is what it should be.
  private static func problem(with file: VouchedFile) -> Damage.Problem? {
    do throws(TarnError) {
      let (descriptor, size) = try Disk.openInput(file.path)
      close(descriptor)
      if let expected = file.byteCount, size != expected { return .size(found: size) }
    } catch {
      return error.code == .inputsMissing ? .missing : .unreadable(error.message)
    }
    do {
      var found = try Disk.digest(of: file.path, isFromDisk: true)
      // A second reading, of the disk again, tells a bad disk from a bad cable.
      if found != file.digest { found = try Disk.digest(of: file.path, isFromDisk: true) }
      return found == file.digest ? nil : .content(found: found)
    } catch {
      return .failing((error as? TarnError)?.message ?? "\(error)")
    }
  }

  private func markVerified(_ files: inout [VouchedFile]) throws {
    guard !files.isEmpty else { return }
    let verified = files
    try write("verified") { database in
      for file in verified {
        switch file.kind {
        case .shard, .keptRevision: try LakeCatalog.markVerified(file.digest, in: .shards, database)
        case .artifact: try LakeCatalog.markVerified(file.digest, in: .artifacts, database)
        case .outputName, .lockFile, .document, .record, .history: break
        }
      }
    }
    files = []
  }

  // MARK: Repair

  /// Brings a damaged file back where the lake can, or stops counting on it.
  ///
  /// The shards with these bytes are evicted, so that the next `sync` or `build`
  /// fetches them; what can be made again is given up; an output gets its bytes
  /// back from its other name, and all names that it has are of its file then.
  ///
  /// - Parameter damage: What ``verify(_:isCancelled:report:)`` found.
  /// - Returns: What became of it.
  /// - Throws: ``TarnError``.
  package func repair(_ damage: Damage) throws -> RepairOutcome {
    let file = damage.file
    switch file.kind {
    case .shard:
      for shard in try shards(holding: file.digest) {
        try evict(shard, because: "damaged: \(damage.message)", isDamaged: true)
      }
      return .givenUp
    case .keptRevision:
      for kept in try keptRevisions() where kept.digest == file.digest {
        try release(kept, because: "damaged: \(damage.message)")
      }
      return .givenUp
    case .artifact(let kind) where kind.canBeMadeAgain:
      try giveUp(file, damage)
      return .givenUp
    case .artifact(.outputShard), .artifact(.refineShard):
      for name in try names(ofOutput: file.digest) where !FileIdentity.isSame(name, file.path) {
        guard Disk.size(of: name) == file.byteCount, try Disk.digest(of: name) == file.digest else { continue }
        try Disk.makeDirectory(file.path.parentPath)
        try relink(name, to: file.path)
        try relinkNames(ofOutput: file.digest, to: file.path)
        try recordRepair(damage, .restored)
        return .restored
      }
      return .lost
    case .outputName(_, _, let kind):
      let artifact = try path(of: kind, file.digest)
      guard Disk.size(of: artifact) == file.byteCount, try Disk.digest(of: artifact) == file.digest else {
        return .lost
      }
      try relinkNames(ofOutput: file.digest, to: artifact)
      try recordRepair(damage, .restored)
      return .restored
    case .artifact, .lockFile, .document, .record, .history: return .lost
    }
  }

  /// Keeps what became of a damaged file in the history.
  package func recordRepair(_ damage: Damage, _ outcome: RepairOutcome) throws {
    try write("repaired") { database in
      try LakeCatalog.record(
        .repaired, damage.file.name,
        [
          "kind": .string(damage.file.kind.word), "sha256": .optional(damage.file.statedDigest?.hex),
          "damage": .string(damage.message), "outcome": .string(outcome.rawValue),
        ], database)
    }
  }

  func relink(_ from: String, to path: String) throws {
    try Disk.link(from, path)
    try Disk.syncDirectory(path.parentPath)
  }

  private func giveUp(_ file: VouchedFile, _ damage: Damage) throws {
    let item = try write("deleting") { database in
      try LakeCatalog.startDeletion(of: file.digest, database)
      return try GarbageItem.fetchOne(
        database, sql: GarbageItem.selectBegun + " AND sha256 = ?", arguments: [file.digest.hex])
    }
    if let item { try finishDeletion(item) }
    try recordRepair(damage, .givenUp)
  }

}
