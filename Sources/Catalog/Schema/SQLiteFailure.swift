// What SQLite's codes mean to people, and which of them a catalog can be read in
// spite of.

internal import Base
internal import Foundation
internal import GRDB
internal import GRDBSQLite
internal import Glibc
internal import Synchronization

extension TarnError {
  /// The error of a catalog that cannot be used; nil when the statement is at fault.
  ///
  /// - Parameters:
  ///   - code: SQLite's extended result code.
  ///   - message: What SQLite says.
  ///   - path: The catalog.
  /// - SeeAlso: https://www.sqlite.org/rescode.html
  init?(sqliteCode code: Int32, _ message: String, at path: String? = nil) {
    let free = "free some space, then run it again"
    // SQLITE_IOERR_SHMOPEN, _SHMSIZE and _SHMMAP, which Swift does not see.
    let sharedMemory: [Int32] = [18, 19, 21]
    switch code & 0xFF {
    case SQLITE_FULL:
      self.init(.diskFull, "there is no room for what the catalog would write", hint: free, place: path)
    case SQLITE_IOERR where sharedMemory.contains(code >> 8):
      // Not SQLITE_FULL, although that is what it comes from.
      self.init(
        .diskFull, "the catalog cannot be used: there is no room for the index of its log beside it", hint: free,
        place: path)
    case SQLITE_IOERR:
      self.init(
        .io, "the catalog cannot be read or written: \(message) (SQLite's code \(code))",
        hint: "check the disk and the lake's directory, then run it again")
    case SQLITE_BUSY, SQLITE_LOCKED:
      self.init(.locked, "the catalog is in use by another program", hint: "close it, then run it again")
    case SQLITE_CORRUPT, SQLITE_NOTADB:
      self.init(
        .integrity, "the catalog is damaged: \(message)",
        hint: "restore a backup; without one, `tarn rebuild-catalog` sets it aside and makes it from what it sealed")
    case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM:
      self.init(
        .io, "cannot open or write the catalog: \(message)",
        hint: "the lake must be readable, and writable for this command")
    case SQLITE_NOMEM: self.init(.database, "SQLite needs more memory than it may have")
    default: return nil
    }
  }
}

extension LakeCatalog {
  /// How a connection reads a log whose index cannot be shared: in memory, and alone.
  ///
  /// > If the EXCLUSIVE locking mode is active when first entering WAL mode, the
  /// > wal-index is in heap memory.
  /// https://www.sqlite.org/wal.html#noshm
  static let aloneManner = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON"

  /// Where SQLite sorts what does not fit its cache: in memory, if there is little
  /// room where it would put temporary files.
  static var temporaryStore: String {
    let environment = ProcessInfo.processInfo.environment
    // > SQLite searches these, in this order.
    // https://www.sqlite.org/tempfiles.html
    let places = [environment["SQLITE_TMPDIR"], environment["TMPDIR"], "/var/tmp", "/usr/tmp", "/tmp", "."]
    let place = places.compactMap(\.self).first { Disk.isDirectory($0) && access($0, W_OK | X_OK) == 0 }
    let free = place.flatMap { try? FileSystem(of: $0).freeByteCount } ?? 0
    return "PRAGMA temp_store = \(free < 1 << 28 ? "MEMORY" : "DEFAULT")"
  }

  /// Whether a file system with little room gives it out in less than pages.
  ///
  /// SQLite makes sure of a block in each page of the log's index before it maps it. In
  /// a file system of smaller blocks the rest of a page is taken when it is written to;
  /// where there is none left the process gets SIGBUS.
  private static func hasSmallBlocks(_ path: String) -> Bool {
    guard let fileSystem = try? FileSystem(of: path), fileSystem.blockByteCount < 4096 else { return false }
    return fileSystem.freeByteCount < CatalogBallast.byteCount
  }

  /// Descriptors of logs' indexes, by the lake's catalog.
  private static let indexes = Mutex<[String: Int32]>([:])

  /// Takes the blocks that the log's index lacks, for a writer that may meet a full
  /// disk later.
  ///
  /// The descriptor stays open as long as the process lives: to close any descriptor of
  /// a file takes this process's locks off it, SQLite's too.
  static func fillIndex(of path: String) {
    guard let fileSystem = try? FileSystem(of: path), fileSystem.blockByteCount < 4096 else { return }
    indexes.withLock { indexes in
      let descriptor = indexes[path] ?? Glibc.open(path + "-shm", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
      guard descriptor >= 0 else { return }
      indexes[path] = descriptor
      // Two regions: the index of a log of 8,000 pages.
      _ = posix_fallocate(descriptor, 0, 1 << 16)
    }
  }

  /// Runs statements, and tells a full disk from a broken one: of the system's errors
  /// SQLite knows `ENOSPC` alone as such.
  static func tellingOfFullDisks<Value>(
    _ database: Database, _ path: String, _ body: () throws -> Value
  ) throws -> Value {
    do {
      return try body()
    } catch let error as DatabaseError where error.resultCode == .SQLITE_IOERR {
      let number = sqlite3_system_errno(database.sqliteConnection)
      guard [ENOSPC, EDQUOT, EFBIG].contains(number) else { throw error }
      throw Disk.systemError(number, "write", path)
    }
  }

  /// The largest catalog that is copied into memory.
  private static let mostCopiedByteCount = 1 << 28

  /// Opens a catalog for reading, where nothing beside it can be written as well.
  ///
  /// A reader of a write-ahead log keeps the log's index in a file beside the
  /// catalog. On a medium that cannot be written, or that is full, there is none. Then
  /// the catalog is copied into memory, with its log if it has one: others may write it
  /// at any time, in a directory that this user may not write, or through another mount.
  /// One that is too large for that opens as immutable, which is true of it as long as
  /// nobody does.
  ///
  /// - Parameters:
  ///   - path: The catalog.
  ///   - open: Opens a path or URI, and has read from it.
  ///   - copy: Copies a path or URI into memory: the catalog and its log, alone, or what
  ///     is taken for immutable.
  ///   - code: The extended code of an error of SQLite's; nil for another error.
  /// - Returns: What `open` or `copy` returns.
  /// - Throws: What `open` throws.
  package static func reading<Value>(
    _ path: String, _ open: (String) throws -> Value, copy: (_ path: String, _ isAlone: Bool) throws -> Value,
    code: (any Error) -> Int32?
  ) throws -> Value {
    if hasSmallBlocks(path), access(path, W_OK) == 0, let copied = try? copy(path, true) { return copied }
    let escaped = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
    let immutable = "file:\(escaped)?immutable=1"
    var triesLeft = 50
    while true {
      do {
        return try open(path)
      } catch {
        let kinds = [SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_READONLY]
        guard let code = code(error), kinds.contains(code & 0xFF), let size = Disk.size(of: path) else { throw error }
        if hasLog(path) {
          guard access(path, W_OK) != 0 else {
            if let copied = try? copy(path, true) { return copied }
            throw error
          }
        } else {
          guard size <= mostCopiedByteCount else { return try open(immutable) }
          // While somebody is at it a copy would be of no use.
          if let before = settledIdentity(of: path), let copied = try? copy(immutable, false),
            settledIdentity(of: path) == before, !hasLog(path)
          {
            return copied
          }
        }
        // Somebody begins to write it, or ends: soon its log can be read, or there is none.
        triesLeft -= 1
        guard triesLeft > 0 else { throw error }
        usleep(20_000)
      }
    }
  }

  /// What tells a file from itself before a change; nil for one that changed so lately that
  /// another change might leave it the same time.
  static func settledIdentity(of path: String) -> [Int]? {
    guard let identity = Disk.identity(of: path), let modified = Disk.modifiedAt(path) else { return nil }
    let age = Duration.seconds(Date.now.timeIntervalSince1970) - modified
    return age > .milliseconds(-20) && age < .milliseconds(20) ? nil : identity
  }

  private static func hasLog(_ path: String) -> Bool { (Disk.size(of: path + "-wal") ?? 0) > 0 }
}
