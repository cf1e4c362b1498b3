// Copies of the catalog: one consistent state of it, checked before it gets its
// name. Taken while others read and write, and before every migration.

internal import Foundation
internal import GRDB
internal import Glibc

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
  /// - Throws: ``CatalogError`` `.conflict` when there is a file of that name
  ///   that is not a backup, `.integrity` when the catalog is damaged.
  package func backup(to path: String) throws -> BackupSummary {
    let target = LakeLayout.absolute(path)
    guard !FileIdentity.isSame(target, layout.catalog) else {
      throw CatalogError(.conflict, "\(target) is the catalog itself", hint: "name another file")
    }
    if FileManager.default.fileExists(atPath: target), !LakeCatalog.isCatalogFile(target) {
      throw CatalogError(.conflict, "\(target) exists and is not a backup of a catalog", hint: "name another file")
    }
    return try outsideTransaction { try LakeCatalog.copy($0, to: target) }
  }

  /// Where the copy taken before a migration is, absolute.
  static func migrationBackupPath(_ catalog: String, schemaNumber: Int) -> String {
    "\(catalog).backup-schema\(schemaNumber)"
  }

  /// Copies a catalog through SQLite, checks the copy, and moves it in place.
  ///
  /// - Parameters:
  ///   - database: The catalog's connection, in no transaction.
  ///   - path: The copy, absolute.
  /// - Returns: What the copy holds.
  /// - Throws: ``CatalogError``, SQLite's error.
  static func copy(_ database: Database, to path: String) throws -> BackupSummary {
    let temporary = "\(path).tmp-\(getpid())"
    try Disk.remove(temporary)
    defer { unlink(temporary) }
    try FaultPlan.step("create", temporary)
    // > The VACUUM INTO command ... the result is a database that is
    // > transactionally consistent.   https://www.sqlite.org/lang_vacuum.html
    try database.execute(sql: "VACUUM INTO ?", arguments: [temporary])
    let (number, hash) = try check(temporary)
    try Disk.syncFile(temporary)
    try Disk.moveIntoPlace(temporary, path)
    return BackupSummary(
      path: path, byteCount: Disk.size(of: path) ?? 0, schemaNumber: number, newestEventHash: hash)
  }

  private static func check(_ path: String) throws -> (schemaNumber: Int, newestEventHash: String?) {
    var configuration = Configuration()
    configuration.readonly = true
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    defer { try? queue.close() }
    return try queue.read { database in
      let findings = try String.fetchAll(database, sql: "PRAGMA quick_check(3)")
      guard findings == ["ok"] else {
        throw CatalogError(
          .integrity, "the catalog is damaged: \(findings.joined(separator: "; ").printable)",
          hint: "restore an earlier backup")
      }
      let orphans = try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").map { $0[0] as String? ?? "?" }
      guard orphans.isEmpty else {
        throw CatalogError(
          .integrity, "\(orphans.count) rows refer to nothing, the first in table \(orphans[0])",
          hint: "restore an earlier backup")
      }
      guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else {
        throw CatalogError(.integrity, "the copy is not a tarn catalog")
      }
      let number = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
      let hash =
        try number >= 2
        ? String.fetchOne(database, sql: "SELECT hash FROM event ORDER BY seq DESC LIMIT 1") : nil
      return (number, hash)
    }
  }

  /// Whether a file says that it is a catalog, by the bytes SQLite documents.
  private static func isCatalogFile(_ path: String) -> Bool {
    guard let file = FileHandle(forReadingAtPath: path), let head = try? file.read(upToCount: 72) else { return false }
    // > 68  4  The "Application ID" set by PRAGMA application_id.
    // https://www.sqlite.org/fileformat2.html
    return head.count == 72 && head.prefix(15) == Data("SQLite format 3".utf8)
      && head.suffix(4) == Data([0x54, 0x41, 0x52, 0x4E])
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
