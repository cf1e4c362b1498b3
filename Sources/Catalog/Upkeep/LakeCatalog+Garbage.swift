// `gc`: bytes that nothing needs any more go; rows stay.
//
// What may go is the view v_garbage, asked again in the transaction that
// decides, where the triggers have the last word (invariant 4); of packs, which
// the view holds one by one against every excluded row, by a query of its own
// with the same answer. Removal is row
// first, then bytes (invariant 1): present -> deleting | commit | unlink |
// deleting -> deleted. A run that dies between leaves `deleting`, which the
// next one finishes. Files without a row are listed and left alone.

package import Base
package import Foundation
internal import Glibc
internal import GRDB

/// What to collect.
package struct GarbageOptions: Sendable {
  /// How long bytes are kept after their last use ended.
  package var grace: Duration
  /// Also segments that no unfinished output waits for; those of no known shard go anyway.
  package var includesSegments: Bool
  /// The time that the grace period is measured against.
  package var now: Date

  package init(grace: Duration = .seconds(7 * 86400), includesSegments: Bool = false, now: Date = Date()) {
    self.grace = grace
    self.includesSegments = includesSegments
    self.now = now
  }

  /// Later than any time that is recorded, in the catalog's form.
  fileprivate static let latest = "9999"

  /// The latest end of use that is over its grace, in the catalog's form.
  fileprivate var cutoff: String {
    Timestamp.text(
      now.addingTimeInterval(-Double(grace.components.seconds) - Double(grace.components.attoseconds) * 1e-18))
  }
}

/// An artifact that nothing needs.
package struct GarbageItem: Sendable {
  package let kind: StoredKind
  package let digest: ContentDigest
  package let byteCount: Int
  /// File below the artifacts directory.
  package let path: String
  /// When its last use ended.
  package let unusedSince: String
}

/// A file in the lake that no row knows.
package struct UnknownFile: Sendable {
  /// Absolute.
  package let path: String
  package let byteCount: Int
}

/// What may be collected.
package struct GarbagePlan: Sendable {
  /// Over their grace.
  package let due: [GarbageItem]
  /// Not yet.
  package let waiting: [GarbageItem]
  /// Begun by a run that was interrupted.
  package let interrupted: [GarbageItem]
  /// Work that no unfinished training or build will take up again, over its
  /// grace.
  package let leftovers: [UnknownFile]
  /// What transfers left that nobody continued for the time of grace.
  package let parts: [InterruptedTransfer]
  /// Older revisions of shards that were kept and on which nothing rests, over their
  /// grace.
  package let revisions: [KeptRevision]
  /// Such work and such revisions that are not over their grace yet.
  package let waitingOthers: [UnknownFile]
  /// Dropped shards whose bytes are here, over their grace.
  package let dropped: [Shard]
  /// Never deleted by tarn.
  package let unknownFiles: [UnknownFile]

  /// Bytes that collecting gives back.
  package var byteCount: Int {
    (due + interrupted).reduce(0) { $0 + $1.byteCount } + leftovers.reduce(0) { $0 + $1.byteCount }
      + parts.reduce(0) { $0 + $1.byteCount } + revisions.reduce(0) { $0 + $1.byteCount }
      + dropped.reduce(0) { $0 + ($1.revision?.byteCount ?? 0) }
  }
}

extension LakeCatalog {
  /// What may be collected now; changes nothing.
  ///
  /// - Parameter options: What to collect.
  /// - Returns: The plan; ``collect(_:_:report:)`` carries it out.
  /// - Throws: ``TarnError``.
  package func garbage(_ options: GarbageOptions) throws -> GarbagePlan {
    // What a sealed version names that this catalog does not know is not garbage.
    let strangers = try strangers()
    if let unread = strangers.first(where: \.isUnread) {
      throw TarnError(
        .io, "\(unread.directory) cannot be read, and may be of a version whose files are to be kept",
        hint: "let this user read it, or move it out of the lake")
    }
    let kept = strangers.reduce(into: Set<ContentDigest>()) { $0.formUnion($1.digests) }
    let (unused, interrupted) = try read { database in
      (
        try LakeCatalog.unused(options, database),
        try GarbageItem.fetchAll(database, sql: GarbageItem.selectBegun + " ORDER BY sha256")
      )
    }
    let cutoff = options.cutoff
    let (work, revisions) = (try leftovers(until: cutoff), try unusedRevisions(until: cutoff))
    let everything = GarbageOptions.latest
    let (dueWork, dueRevisions) = (Set(work.map(\.path)), Set(revisions.map(\.digest)))
    let waitingWork = try leftovers(until: everything).filter { !dueWork.contains($0.path) }
    let waitingRevisions = try unusedRevisions(until: everything).filter { !dueRevisions.contains($0.digest) }
      .map { UnknownFile(path: layout.path($0.path, in: .shards), byteCount: $0.byteCount) }
    let free = unused.filter { !kept.contains($0.digest) }
    return GarbagePlan(
      due: free.filter { $0.unusedSince <= cutoff }, waiting: free.filter { $0.unusedSince > cutoff },
      interrupted: interrupted.filter { !kept.contains($0.digest) }, leftovers: work,
      parts: try parts(until: cutoff), revisions: revisions, waitingOthers: waitingWork + waitingRevisions,
      dropped: try droppedPresent(until: cutoff),
      unknownFiles: try unknownFiles())
  }

  /// What nothing needs, that which has been so longest first: segments where they are wanted, and
  /// those that no row says anything of.
  private static func unused(_ options: GarbageOptions, _ database: Database) throws -> [GarbageItem] {
    let others = try GarbageItem.fetchAll(
      database,
      sql: """
        SELECT * FROM v_garbage v WHERE v.kind <> 'pack' AND (v.kind <> 'segment' OR ?
          OR NOT EXISTS (SELECT 1 FROM segment g WHERE g.sha256 = v.sha256))
        """, arguments: [options.includesSegments])
    let packs = try unusedPacks(database)
    return (others + packs).sorted {
      ($0.unusedSince, $0.digest.hex) < ($1.unusedSince, $1.digest.hex)
    }
  }

  /// The packs of `v_garbage`, in time in proportion to them: which hold an excluded row is made
  /// out once for all, where the view does so for each.
  private static func unusedPacks(_ database: Database) throws -> [GarbageItem] {
    try GarbageItem.fetchAll(
      database,
      sql: """
        SELECT b.kind, b.sha256, a.byte_count AS bytes, a.path,
          (SELECT CASE WHEN u.replaced > a.created_at THEN u.replaced ELSE a.created_at END
            FROM (SELECT max(coalesce(v.ended_at, n.observed_at, h.changed_at)) AS replaced
              FROM pack c CROSS JOIN shard_revision r CROSS JOIN shard h
              LEFT JOIN shard_revision n ON n.shard_id = h.id AND n.revision = h.current_revision
              LEFT JOIN version_companion x ON x.shard_id = r.shard_id AND x.revision = r.revision
              LEFT JOIN index_version v ON v.id = x.version_id
              WHERE c.sha256 = b.sha256 AND r.sha256 = c.companion_sha256 AND h.id = r.shard_id) u) AS unused_since
        FROM stored_bytes b CROSS JOIN stored_bytes a
        WHERE a.sha256 = b.sha256 AND a.place = b.place AND b.state = 'present' AND b.kind = 'pack'
          AND NOT EXISTS (SELECT 1 FROM trained_index t WHERE t.sha256 = b.sha256)
          AND NOT EXISTS (SELECT 1 FROM output_shard o CROSS JOIN index_version v
            WHERE o.sha256 = b.sha256 AND v.id = o.version_id
              AND (v.state NOT IN ('revoked', 'abandoned') OR \(IndexVersion.isPinned)))
          AND NOT EXISTS (SELECT 1 FROM evaluation e CROSS JOIN index_version v
            WHERE e.truth_sha256 = b.sha256 AND v.id = e.version_id
              AND (v.state <> 'revoked' OR \(IndexVersion.isPinned)))
          AND (a.path IN (SELECT holder FROM v_exclusion_holder WHERE kind = 'pack')
            OR NOT EXISTS (SELECT 1 FROM pack c CROSS JOIN shard_revision r CROSS JOIN shard h
              WHERE c.sha256 = b.sha256 AND r.sha256 = c.companion_sha256 AND h.id = r.shard_id
                AND h.dropped_row_count IS NULL
                AND (h.current_revision = r.revision OR EXISTS (SELECT 1 FROM version_companion x
                  CROSS JOIN index_version v
                  WHERE x.shard_id = r.shard_id AND x.revision = r.revision AND v.id = x.version_id
                    AND (v.state <> 'revoked' OR \(IndexVersion.isPinned))))))
        """)
  }

  /// Bytes of artifacts that may be collected, without a look at the files.
  func garbageByteCount(_ options: GarbageOptions) throws -> Int {
    let cutoff = options.cutoff
    return try read { try LakeCatalog.unused(options, $0) }.lazy.filter { $0.unusedSince <= cutoff }.map(\.byteCount)
      .saturatedSum
  }

  /// Gives back the bytes of a plan.
  ///
  /// - Parameters:
  ///   - plan: What ``garbage(_:)`` found.
  ///   - options: What it was asked.
  ///   - unwritten: Told why the file of a revocation or a pin could not be written: the next time it is tried again.
  ///   - report: Told of each artifact that is gone.
  /// - Returns: The artifacts that are gone; one that came into use since the
  ///   plan was made is left out.
  /// - Throws: ``TarnError``; run it again to continue. What the disk refuses to remove
  ///   is thrown when all else is gone.
  @discardableResult
  package func collect(
    _ plan: GarbagePlan, _ options: GarbageOptions, unwritten: (TarnError) -> Void = { _ in },
    report: (GarbageItem) throws -> Void = { _ in }
  ) throws -> [GarbageItem] {
    var gone: [GarbageItem] = []
    var refusals: [TarnError] = []
    // A file that cannot be removed, as in another user's directory, does not stop the others.
    func removing(_ body: () throws -> Void) throws {
      do { try body() } catch let error as TarnError where error.code == .io { refusals.append(error) }
    }
    for item in plan.interrupted {
      try removing {
        try finishDeletion(item)
        gone.append(item)
        try report(item)
      }
    }
    // Packs are looked up once: gc has the lake for itself, and nothing that it deletes makes a pack used again.
    let cutoff = options.cutoff
    var packs: Set<ContentDigest> = []
    if plan.due.contains(where: { $0.kind == .pack }) {
      packs = Set(try read { try LakeCatalog.unusedPacks($0) }.filter { $0.unusedSince <= cutoff }.map(\.digest))
    }
    for item in plan.due {
      guard try decideDeletion(of: item, unusedPacks: packs, until: cutoff) else { continue }
      try removing {
        try finishDeletion(item)
        gone.append(item)
        try report(item)
      }
    }
    try writeMarks().forEach(unwritten)
    // A live version that shares the output has a name of its own for it. This one is a hard link to the old file,
    // which would stay when a damaged output is replaced.
    for name in try namesOfRevoked(until: options.cutoff) {
      try removing {
        try Disk.remove(name)
        try Disk.syncDirectory(name.parentPath)
      }
    }
    // Listed again rather than taken from the plan: gc holds the lock now, so no command is using them.
    for file in try leftovers(until: options.cutoff) {
      try removing {
        try Disk.remove(file.path)
        // A training's scratch directory goes with its last file.
        let directory = file.path.parentPath
        if ![layout.scratch, layout.artifactScratch].contains(directory) { try Disk.removeEmptyDirectory(directory) }
      }
    }
    for transfer in try parts(until: options.cutoff) { try removing { try discard(transfer) } }
    for revision in try unusedRevisions(until: options.cutoff) {
      try removing { try release(revision, because: "unused") }
    }
    for shard in try droppedPresent(until: options.cutoff) { try removing { try evict(shard, because: "dropped") } }
    try removeEmptyDirectories()
    guard let first = refusals.first else { return gone }
    let others = refusals.count > 1 ? ", and \(refusals.count - 1) more stay likewise" : ""
    throw TarnError(first.code, first.message + others, hint: first.hint, place: first.place)
  }

  /// Records that an artifact is to be deleted, if it is unused still.
  ///
  /// - Parameters:
  ///   - item: The artifact.
  ///   - packs: Digests of the packs that are unused.
  ///   - cutoff: Until when it must have been unused.
  /// - Returns: Whether it is to be deleted.
  /// - Throws: ``TarnError``; then nothing is recorded.
  private func decideDeletion(
    of item: GarbageItem, unusedPacks packs: Set<ContentDigest>, until cutoff: String
  ) throws -> Bool {
    try write("deleting") { database in
      let isStillUnused =
        if item.kind == .pack {
          packs.contains(item.digest)
        } else {
          try Bool.fetchOne(
            database.cachedStatement(
              sql: "SELECT EXISTS (SELECT 1 FROM v_garbage WHERE sha256 = ? AND unused_since <= ?)"),
            arguments: [item.digest.hex, cutoff]) == true
        }
      guard isStillUnused else { return false }
      try LakeCatalog.startDeletion(of: item.digest, database)
      try LakeCatalog.record(
        .gc, item.path,
        ["kind": .string(item.kind.rawValue), "sha256": .string(item.digest.hex), "bytes": .count(item.byteCount)],
        database)
      return true
    }
  }

  /// Removes directories of artifacts that hold nothing any more, where this user may.
  ///
  /// A directory that belongs to another user would be in the way of whoever writes there next. Directories of versions
  /// stay, as their numbers are not given again (invariant 2).
  private func removeEmptyDirectories() throws {
    let kinds = Set(StoredKind.allCases.filter { $0.place == .artifacts }.map(\.directory))
    for kind in kinds.sorted().map({ layout.path($0, in: .artifacts) }) {
      // Artifacts lie in directories of two characters, the beginnings of their digests.
      for name in (try? Disk.namesIfAny(in: kind)) ?? [] where name.utf8.count == 2 {
        guard let held = try? Disk.namesIfAny(in: "\(kind)/\(name)"), held.isEmpty else { continue }
        do {
          try Disk.removeEmptyDirectory("\(kind)/\(name)")
        } catch let error as TarnError where error.code == .io {
          // It stays, and may go another time.
        }
      }
    }
  }

  private func unusedRevisions(until cutoff: String) throws -> [KeptRevision] {
    try keptRevisions().filter { $0.unusedSince.map { $0 <= cutoff } ?? false }
  }

  private func parts(until cutoff: String) throws -> [InterruptedTransfer] {
    try interruptedTransfers().filter { $0.changedAt <= cutoff }
  }

  /// Unfinished work that was last written before a time and that nothing will take
  /// up: files in `.work`, but for those of an unfinished training or build, and in
  /// scratch, but for those of a training that is not finished.
  private func leftovers(until cutoff: String) throws -> [UnknownFile] {
    let (isUnfinished, trainings) = try read { database in
      (
        try Bool.fetchOne(
          database,
          sql: """
            SELECT EXISTS (SELECT 1 FROM trained_index WHERE state = 'training')
              OR EXISTS (SELECT 1 FROM index_version WHERE state IN ('planned', 'building'))
            """),
        try TrainedIndexRecord.fetchAll(database, sql: TrainedIndexRecord.select + " WHERE t.state = 'training'")
      )
    }
    let kept = trainings.flatMap { [layout.trainingScratch($0.specDigest) + "/", layout.gatherScratch($0.name) + "/"] }
    let scratch = files(in: layout.scratch, until: cutoff).filter { file in !kept.contains(where: file.path.hasPrefix) }
    return (isUnfinished == true ? [] : files(in: layout.artifactScratch, until: cutoff)) + scratch
  }

  /// The row's half of a removal: the schema refuses it for bytes in use.
  static func startDeletion(of digest: ContentDigest, _ database: Database) throws {
    try database.run(
      """
      UPDATE stored_bytes SET state = 'deleting', deleting_at = ?
      WHERE sha256 = ? AND place = 'artifacts' AND state = 'present'
      """, [Timestamp.now(), digest.hex])
  }

  /// The bytes' half: every name of the file goes, durably, before the row says
  /// that it is gone.
  func finishDeletion(_ item: GarbageItem) throws {
    let names = try names(ofOutput: item.digest)
    for path in names + [layout.path(item.path, in: .artifacts)] {
      try Disk.remove(path)
      let directory = path.parentPath
      if FileManager.default.fileExists(atPath: directory) { try Disk.syncDirectory(directory) }
    }
    try write("deleted") { database in
      try database.run(
        "UPDATE stored_bytes SET state = 'deleted' WHERE sha256 = ? AND place = 'artifacts' AND state = 'deleting'",
        [item.digest.hex])
    }
  }

  // MARK: Files without rows

  /// Files below the artifacts and shards directories that no row knows.
  ///
  /// Work in progress is known: part files, and what lies in `.work`.
  ///
  /// - Returns: The files, by path.
  /// - Throws: ``TarnError``.
  package func unknownFiles() throws -> [UnknownFile] {
    let (artifacts, shards, parts) = try read { database in
      (
        try LakeCatalog.storedPaths(in: .artifacts, database), try LakeCatalog.storedPaths(in: .shards, database),
        Set(
          try String.fetchAll(
            database, sql: "SELECT s.name || '/' || h.name FROM shard h JOIN source s ON s.id = h.source_id"))
      )
    }
    func isPart(_ path: String) -> Bool { LakeLayout.shard(ofPart: path).map(parts.contains) ?? false }
    let inArtifacts = LakeCatalog.files(below: layout.artifacts).filter {
      !$0.path.hasPrefix(".work/") && !artifacts.contains($0.path)
    }
    let inShards = LakeCatalog.files(below: layout.shards).filter { !shards.contains($0.path) && !isPart($0.path) }
    return inArtifacts.map { UnknownFile(path: layout.path($0.path, in: .artifacts), byteCount: $0.byteCount) }
      + inShards.map { UnknownFile(path: layout.path($0.path, in: .shards), byteCount: $0.byteCount) }
  }

  /// Bytes of all files below a directory; 0 where there is none.
  package static func byteCount(below directory: String) -> Int {
    files(below: directory).reduce(0) { $0 + $1.byteCount }
  }

  /// Everything below a directory but directories and its owner's mark, by relative path, sorted.
  static func files(below directory: String) -> [(path: String, byteCount: Int)] {
    guard let walk = FileManager.default.enumerator(atPath: directory) else { return [] }
    var found: [(path: String, byteCount: Int)] = []
    while let path = walk.nextObject() as? String {
      var info = stat()
      guard path != OwnerMark.fileName, lstat(directory + "/" + path, &info) == 0, info.st_mode & S_IFMT != S_IFDIR
      else { continue }
      found.append((path, Int(info.st_size)))
    }
    return found.sorted { $0.path < $1.path }
  }
}

extension GarbageItem: FetchableRecord {
  /// Those whose deletion has begun; append an AND and ORDER BY.
  static let selectBegun = """
    SELECT kind, sha256, byte_count AS bytes, path, deleting_at AS unused_since FROM stored_bytes
    WHERE state = 'deleting' AND place = 'artifacts'
    """

  init(row: Row) throws {
    kind = try row.named("kind")
    digest = try row.requiredDigest("sha256")
    byteCount = row["bytes"]
    path = row["path"]
    unusedSince = row["unused_since"] ?? ""
  }
}
