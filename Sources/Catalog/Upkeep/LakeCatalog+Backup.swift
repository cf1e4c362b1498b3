// Copies of the catalog: one consistent state of it, checked before it gets its
// name. Taken while others read and write, and before every migration.

internal import Base
internal import Foundation
internal import Glibc
internal import GRDB

/// What a backup holds.
package struct BackupSummary: Sendable {
  /// Absolute.
  package let path: String
  package let byteCount: Int
  package let schemaNumber: Int
  /// Hash of its newest event: what the history must still contain later.
  package let newestEventHash: String?
}

extension LakeCatalog {
  /// Writes a checked copy of the catalog.
  ///
  /// The copy is a catalog by itself: put back as `catalog.sqlite`, with no
  /// `-wal` beside it, it is this state of the lake.
  ///
  /// - Parameter path: The copy; an earlier backup of that name is replaced
  ///   once the new one is whole.
  /// - Returns: What it holds.
  /// - Throws: ``TarnError`` `.conflict` when there is a file of that name
  ///   that is not a backup, or it is a lake's own, `.integrity` when the catalog is damaged.
  package func backup(to path: String) throws -> BackupSummary {
    try OutputPlace.check(path, besides: layout, replacesBackup: true)
    let target = LakeLayout.absolute(path)
    let byteCount = ["", "-wal"].reduce(0) { $0 + (Disk.size(of: layout.catalog + $1) ?? 0) }
    try requireRoom(for: "the copy of the catalog", [RoomNeed(at: target, byteCount: byteCount)])
    return try outsideTransaction { try LakeCatalog.copy($0, to: target) }
  }

  /// Where the copy taken before a migration is, absolute.
  static func migrationBackupPath(_ catalog: String, schemaNumber: Int) -> String {
    "\(catalog).backup-schema\(schemaNumber)"
  }

  /// Copies a catalog that is about to be migrated.
  ///
  /// - Parameters:
  ///   - catalog: The catalog's file; a transaction of the caller's keeps others
  ///     from writing to it.
  ///   - schemaNumber: Its schema.
  /// - Throws: ``TarnError``, SQLite's error.
  static func copyBeforeMigration(of catalog: String, schemaNumber: Int) throws {
    let queue = try connect(to: catalog, readOnly: true)
    let target = migrationBackupPath(catalog, schemaNumber: schemaNumber)
    // Under the writer's lock, so the name is nobody else's: what a killed run
    // left is written over.
    _ = try queue.inDatabase { try copy($0, to: target, by: target + ".tmp") }
    try queue.close()
  }

  /// Copies a catalog through SQLite, checks the copy, and moves it in place.
  ///
  /// - Parameters:
  ///   - database: The catalog's connection, in no transaction.
  ///   - path: The copy, absolute.
  ///   - temporary: Its name until it is whole; nil for one of this process.
  /// - Returns: What the copy holds.
  /// - Throws: ``TarnError``, SQLite's error.
  static func copy(_ database: Database, to path: String, by temporary: String? = nil) throws -> BackupSummary {
    let temporary = temporary ?? WorkingPlace(for: path).path
    try Disk.remove(temporary)
    defer { for suffix in ["", "-wal", "-journal"] { unlink(temporary + suffix) } }
    try Disk.makeFile(temporary)
    let (number, hash) = try wrapped(at: temporary) {
      try copyPages(of: database, to: temporary)
      return try check(temporary)
    }
    try Disk.syncFile(temporary)
    try Disk.moveIntoPlace(temporary, path)
    return BackupSummary(
      path: path, byteCount: Disk.size(of: path) ?? 0, schemaNumber: number, newestEventHash: hash)
  }

  /// Writes one consistent state of a catalog, page by page.
  ///
  /// Several times as fast as `VACUUM INTO`, which makes every index again, and
  /// what is damaged in the catalog is damaged in the copy, where the check
  /// finds it.
  private static func copyPages(of database: Database, to path: String) throws {
    // > If N is negative, all remaining source pages are copied.
    // https://www.sqlite.org/c3ref/backup_finish.html
    let copy = try DatabaseQueue(path: path, configuration: unshared)
    try copy.writeWithoutTransaction { copy in
      try tellingOfFullDisks(copy, path) { try database.backup(to: copy) }
    }
    try copy.close()
  }

  /// For a file that no other process has open, and that is not believed before
  /// it is synced and renamed: no locks, no syncs.
  private static var unshared: Configuration {
    var configuration = Configuration()
    configuration.prepareDatabase { database in
      try database.execute(
        sql: """
          PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; PRAGMA mmap_size = \(mappedByteCount);
          PRAGMA cache_size = \(cacheSize)
          """)
    }
    return configuration
  }

  private static func check(_ path: String) throws -> (schemaNumber: Int, newestEventHash: String?) {
    let queue = try DatabaseQueue(path: path, configuration: unshared)
    defer { try? queue.close() }
    return try queue.inDatabase { database in
      // The copy has the catalog's journal mode in its header: a write-ahead log,
      // which would be a second file. A backup is one.
      try database.execute(sql: "PRAGMA journal_mode = DELETE")
      // What rows must meet they met when they were written; to ask millions of
      // them again would take longer than all the rest.
      try database.execute(sql: "PRAGMA ignore_check_constraints = ON")
      let findings = try String.fetchAll(database, sql: "PRAGMA quick_check(3)")
      guard findings == ["ok"] else {
        throw TarnError(
          .integrity, "the catalog is damaged: \(findings.joined(separator: "; ").printable)",
          hint: "restore an earlier backup")
      }
      let orphans = try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").map { $0[0] as String? ?? "?" }
      guard orphans.isEmpty else {
        throw TarnError(
          .integrity, "\(orphans.count) rows refer to nothing, the first in table \(orphans[0])",
          hint: "restore an earlier backup")
      }
      guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else {
        throw TarnError(.integrity, "the copy is not a tarn catalog")
      }
      let number = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
      let hash =
        try number >= 2
        ? String.fetchOne(database, sql: "SELECT hash FROM event ORDER BY seq DESC LIMIT 1") : nil
      return (number, hash)
    }
  }
}

/// Which file a name leads to.
enum FileIdentity {
  /// Whether two names, links followed, lead to one file that exists.
  static func isSame(_ first: String, _ second: String) -> Bool {
    var (a, b) = (stat(), stat())
    guard stat(first, &a) == 0, stat(second, &b) == 0 else { return false }
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino
  }
}

extension Disk {
  /// Makes the bytes of a file durable that something else has written.
  package static func syncFile(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw systemError("open", path) }
    defer { close(descriptor) }
    try FaultPlan.step("fsync", path)
    guard fsync(descriptor) == 0 else { throw systemError("fsync", path) }
  }
}
