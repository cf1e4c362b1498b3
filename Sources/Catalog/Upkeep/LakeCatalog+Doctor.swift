// `doctor`: what is wrong with a lake, found by reading alone. It takes no
// lock, so it may look while another process writes; what such a writer is in
// the middle of is a note and never a problem.

internal import Base
internal import Foundation
internal import GRDB

/// One thing that an examination found.
package struct Finding: Sendable, Hashable {
  /// How bad it is.
  package enum Level: String, Sendable, CaseIterable {
    case ok
    /// Nothing to worry about: work in progress, or a fact worth knowing.
    case note
    /// Nothing is lost, and somebody should look.
    case warning
    /// Bytes that the catalog vouches for are not there, the catalog is damaged, or there is no room to
    /// write anything.
    case problem

    /// Whether somebody should look.
    package var wantsSomebody: Bool { self == .warning || self == .problem }
  }

  package let level: Level
  /// Which check found it, one word.
  package let check: String
  /// What is so and with which thing, one line.
  package let what: String
  /// What to do about it, one line; nil when there is nothing to do.
  package let fix: String?

  package init(_ level: Level, _ check: String, _ what: String, fix: String? = nil) {
    self.level = level
    self.check = check
    self.what = what
    self.fix = fix
  }
}

/// An examination of a lake; it changes nothing and needs no lock.
package struct LakeExamination {
  let catalog: LakeCatalog
  let surroundings: LakeSurroundings
  var layout: LakeLayout { catalog.layout }

  /// Things of one kind that are named one by one before the rest is counted.
  static let namedCount = 10

  /// Prepares an examination.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for reading.
  ///   - surroundings: What the machine says.
  package init(_ catalog: LakeCatalog, surroundings: LakeSurroundings = .current) {
    self.catalog = catalog
    self.surroundings = surroundings
  }

  /// Examines the lake.
  ///
  /// - Returns: What was found, one finding at least for each check.
  /// - Throws: ``TarnError`` when the catalog cannot be read at all.
  package func findings() throws -> [Finding] {
    var findings = try [library(), journal(), fileSystem()] + readOnlyMounts()
    findings += try damage()
    guard !findings.contains(where: { $0.level == .problem }) else { return findings + freeSpace() }
    let history = try history()
    findings += try [history, totals()] + ownership() + permissions()
    findings += try unsettled()
    findings += try lookingAgain { try statements(believesHistory: history.level == .ok) }
    findings += try lookingAgain { try LakeInventory(examination: self).findings() }
    return findings + freeSpace()
  }

  // MARK: The catalog

  private func library() throws -> Finding {
    let version =
      try surroundings.sqliteVersion ?? catalog.read { try String.fetchOne($0, sql: "SELECT sqlite_version()") }
    let text = version ?? "of unknown version"
    guard Self.hasResetRace(text) else { return Finding(.ok, "sqlite", "SQLite \(text)") }
    return Finding(
      .note, "sqlite",
      "SQLite \(text) has the WAL-reset race of 3.7.0 to 3.51.2, which needs two writers at a time; tarn lets none",
      fix: "do not write to the catalog with other programs")
  }

  /// Whether a version of SQLite has the WAL-reset race: 3.7.0 to 3.51.2, but
  /// for the corrected 3.44.6 and 3.50.7 and what follows them in their series.
  static func hasResetRace(_ version: String) -> Bool {
    let parts = version.split(separator: ".").compactMap { Int($0) }
    guard parts.count >= 2, parts[0] == 3 else { return false }
    let (minor, patch) = (parts[1], parts.count > 2 ? parts[2] : 0)
    switch minor {
    case 44: return patch < 6
    case 50: return patch < 7
    case 51: return patch < 3
    default: return (7..<51).contains(minor)
    }
  }

  private func journal() throws -> Finding {
    let mode = try catalog.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } ?? "unknown"
    // An immutable catalog, in a directory that cannot be written, has none.
    guard mode != "wal", access(layout.root, W_OK) == 0 else { return Finding(.ok, "journal", "journal mode \(mode)") }
    return Finding(
      .warning, "journal", "the catalog's journal mode is \(mode), so readers and a writer wait for each other",
      fix: "the next command that writes, as `tarn sync`, turns the write-ahead log on")
  }

  private func fileSystem() -> Finding {
    let type = surroundings.fileSystemType(of: layout.catalog) ?? "unknown"
    guard LakeSurroundings.isNetwork(type) else { return Finding(.ok, "filesystem", "the lake is on \(type)") }
    return Finding(
      .warning, "filesystem", "the lake is on \(type), a network file system, where SQLite's write-ahead log can break",
      fix: "keep the lake on a local disk; --shards and --artifacts of `tarn init` may be elsewhere")
  }

  private func readOnlyMounts() -> [Finding] {
    var seen: Set<String> = []
    return [layout.root, layout.shards, layout.artifacts].compactMap { directory in
      guard let point = surroundings.readOnlyMount(of: directory), seen.insert(point).inserted else { return nil }
      return Finding(
        .note, "filesystem", "\(directory) is on \(point), which is mounted read-only: nothing can be written there",
        fix: "`mount -o remount,rw \(point)` by root, unless it is meant to be only read")
    }
  }

  private func damage() throws -> [Finding] {
    let repair = "restore a backup of \(layout.catalog)"
    do {
      let (damage, orphans) = try catalog.read { database in
        (
          try String.fetchAll(database, sql: "PRAGMA integrity_check(\(Self.namedCount))").filter { $0 != "ok" },
          try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").map { row in
            "\(row["table"] as String) refers to a row of \(row["parent"] as String) that is not there"
          }
        )
      }
      return capped(
        damage.map { Finding(.problem, "integrity", "the catalog is damaged: \($0.printable)", fix: repair) },
        else: Finding(.ok, "integrity", "the catalog is whole"))
        + capped(
          orphans.map { Finding(.problem, "references", "the catalog contradicts itself: \($0)", fix: repair) },
          else: Finding(.ok, "references", "every reference in the catalog holds"))
    } catch let error as TarnError where error.code == .integrity {
      return [Finding(.problem, "integrity", error.message, fix: repair)]
    }
  }

  private func history() throws -> Finding {
    guard let event = try catalog.firstBrokenEvent() else {
      return Finding(.ok, "history", "the chain of events is whole")
    }
    return Finding(
      .problem, "history", "the history was changed at event \(event)",
      fix: "compare it with a backup: something changed the catalog behind tarn's back")
  }

  private func totals() throws -> Finding {
    let wrong = try catalog.wrongTotals()
    guard !wrong.isEmpty else { return Finding(.ok, "totals", "every total is what there is to count") }
    return Finding(
      .warning, "totals", "\(wrong.joined(separator: ", ")) does not hold what there is to count",
      fix: "`tarn doctor --recount`")
  }

  // MARK: Work that is under way

  /// What is half done, and the file below the shards directory that is to go, if there is one.
  private struct Leaving {
    let text: String
    let path: String?
  }

  /// What a run left in the middle, or is in the middle of.
  private func unsettled() throws -> [Finding] {
    let holder = surroundings.writer(of: layout.lock)
    let (reserved, leaving, deleting) = try catalog.read { database in
      (
        try Row.fetchAll(
          database,
          sql: """
            SELECT s.name AS source, h.name AS shard, h.reserved_byte_count AS bytes FROM shard h
            JOIN source s ON s.id = h.source_id WHERE h.reserved_byte_count IS NOT NULL
            """
        ).map { "\($0["bytes"] as Int) bytes are reserved for \($0["source"] as String)/\($0["shard"] as String)" },
        try Row.fetchAll(
          database,
          sql: """
            SELECT s.name AS source, h.name AS shard, b.path AS path FROM source s CROSS JOIN shard h
            LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
            LEFT JOIN stored_bytes b ON b.sha256 = r.sha256 AND b.place = 'shards' AND b.state = 'deleting'
            WHERE h.source_id = s.id AND h.state = 'evicting'
            """
        ).map { (row: Row) -> Leaving in
          let shard = "\(row["source"] as String)/\(row["shard"] as String)"
          return Leaving(text: "\(shard) is half evicted", path: row["path"] as String?)
        }
          + String.fetchAll(
            database,
            sql: """
              SELECT b.path FROM stored_bytes b WHERE b.state = 'deleting' AND b.kind = 'shard' AND NOT EXISTS
                (SELECT 1 FROM shard_revision r JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision
                  WHERE r.sha256 = b.sha256 AND h.state = 'evicting')
              """
          ).map { (path: String) -> Leaving in
            Leaving(text: "\(path), which no shard needs, is half removed", path: path)
          },
        try Row.fetchAll(
          database,
          sql: "SELECT kind, path FROM stored_bytes WHERE state = 'deleting' AND place = 'artifacts' ORDER BY path"
        ).map { "the \($0["kind"] as String) \($0["path"] as String) is half removed" }
      )
    }
    let elsewhere = othersAtWork()
    let state = holder.map { [Finding(.note, "writer", "another tarn is writing (\($0))")] } ?? []
    let writers = state + elsewhere
    let left = (reserved.map { Leaving(text: $0, path: nil) } + leaving).map { item -> Finding in
      if let path = item.path, let denied = denial(of: layout.path(path, in: .shards).parentPath) {
        return Finding(.warning, "settling", "\(item.text), and stays so: \(denied.what)", fix: denied.fix)
      }
      guard holder == nil else { return Finding(.note, "settling", item.text) }
      return Finding(
        .note, "settling", "\(item.text) by a run that was interrupted", fix: "the next command that writes settles it")
    }
    let halfRemoved = deleting.map { text in
      holder == nil
        ? Finding(.note, "removal", "\(text) by a run that was interrupted", fix: "`tarn gc --apply` finishes it")
        : Finding(.note, "removal", text)
    }
    return try (writers.isEmpty ? [Finding(.ok, "writer", "no tarn is writing")] : writers)
      + capped(left, else: Finding(.ok, "settling", "no reservation is without an owner"))
      + capped(halfRemoved, else: Finding(.ok, "removal", "no removal is half done"))
      + capped(unfinished(), else: Finding(.ok, "unfinished", "no training or build is unfinished"))
  }

  // MARK: Statements, and files against rows

  /// A writer may change file and row between two looks of ours: while there is
  /// one, a problem is what a second examination finds again.
  private func lookingAgain(_ look: () throws -> [Finding]) throws -> [Finding] {
    let first = try look()
    guard surroundings.writer(of: layout.lock) != nil, first.contains(where: { $0.level == .problem }) else {
      return first
    }
    let second = try look()
    return second.filter { $0.level != .problem || first.contains($0) }
  }

  /// What the catalog states for good, against whatever else tells of it.
  private func statements(believesHistory: Bool) throws -> [Finding] {
    let facts = try catalog.facts(believesHistory: believesHistory)
    let restore = "restore a backup of \(layout.catalog); `tarn verify` names every difference"
    let wrong = facts.statements.flatMap { fact in
      fact.verdict.differences.map { difference in
        Finding(
          .problem, "statements", "the catalog says of \(fact.subject) that \(difference.message)".printable,
          fix: restore)
      }
    }
    let locks = facts.sealed.filter { !$0.lockFile.isClean }.map { sealed in
      Finding(
        .problem, "versions", "the lock file of \(sealed.version) is not what was sealed",
        fix: "`tarn verify --repair` writes it again")
    }
    let documents = facts.sealed.filter { !$0.document.isClean }.map { sealed in
      Finding(
        .problem, "documents",
        "the document of \(sealed.version) is not what was sealed: \(sealed.document.message)".printable,
        fix: "`tarn verify --repair` writes it again")
    }
    let unchecked = facts.unchecked.map { Finding(.note, "unchecked", $0.message) }
    return capped(wrong, else: Finding(.ok, "statements", "what the catalog states for good is borne out"))
      + capped(locks, else: Finding(.ok, "versions", "every sealed version has its lock file"))
      + capped(documents, else: Finding(.ok, "documents", "every sealed version has its document"))
      + (unchecked.isEmpty ? [] : capped(unchecked, else: unchecked[0]))
  }

  private func freeSpace() -> [Finding] {
    var seen: Set<String> = []
    return [layout.root, layout.shards, layout.artifacts].compactMap { directory in
      guard let space = surroundings.freeSpace(directory), seen.insert(space.volume).inserted else { return nil }
      let free = ByteSize.text(space.byteCount)
      guard space.byteCount < 1_000_000_000 else { return Finding(.ok, "space", "\(free) are free at \(directory)") }
      guard space.byteCount >= CatalogBallast.byteCount else {
        return Finding(
          .problem, "space", "the disk is full: \(free) are free at \(directory), and commands that write end with 28",
          fix: "`tarn gc --apply` and `tarn evict` give room back on a full disk, too; or free some otherwise")
      }
      return Finding(
        .warning, "space", "only \(free) are free at \(directory)", fix: "free some space before the next sync or build"
      )
    }
  }

  /// The first findings of a kind one by one and the rest as a number, or one
  /// that says there is none.
  func capped(_ findings: [Finding], else fine: Finding) -> [Finding] {
    guard let last = findings.dropFirst(Self.namedCount).last else { return findings.isEmpty ? [fine] : findings }
    let rest = findings.count - Self.namedCount
    return findings.prefix(Self.namedCount) + [
      Finding(last.level, last.check, "and \(rest) more like these", fix: last.fix)
    ]
  }
}
