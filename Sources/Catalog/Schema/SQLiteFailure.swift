// What SQLite's codes mean to people, and which of them a catalog can be read in
// spite of.

internal import Base
internal import Foundation
internal import GRDBSQLite

extension TarnError {
  /// The error of a catalog that cannot be used; nil when the statement is at fault.
  ///
  /// - Parameters:
  ///   - code: SQLite's extended result code.
  ///   - message: What SQLite says.
  /// - SeeAlso: https://www.sqlite.org/rescode.html
  init?(sqliteCode code: Int32, _ message: String) {
    let free = "free some space, then run it again"
    // SQLITE_IOERR_SHMOPEN, _SHMSIZE and _SHMMAP, which Swift does not see.
    let sharedMemory: [Int32] = [18, 19, 21]
    switch code & 0xFF {
    case SQLITE_FULL: self.init(.diskFull, "the disk has no room for what the catalog would write", hint: free)
    case SQLITE_IOERR where sharedMemory.contains(code >> 8):
      // Not SQLITE_FULL, although that is what it comes from.
      self.init(
        .diskFull, "the catalog cannot be used: there is no room for the index of its log beside it", hint: free)
    case SQLITE_IOERR:
      self.init(
        .io, "the catalog cannot be read or written: \(message) (SQLite's code \(code))",
        hint: "check the disk and the lake's directory, then run it again")
    case SQLITE_BUSY, SQLITE_LOCKED:
      self.init(.locked, "the catalog is in use by another program", hint: "close it, then run it again")
    case SQLITE_CORRUPT, SQLITE_NOTADB:
      self.init(.integrity, "the catalog is damaged: \(message)", hint: "restore a backup")
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
  /// Opens a catalog for reading, where nothing beside it can be written as well.
  ///
  /// A reader of a write-ahead log keeps the log's index in a file beside the
  /// catalog. On a medium that cannot be written, or that is full, there is none; the
  /// catalog opens as immutable then, which is true of it as long as no log lies
  /// beside it.
  ///
  /// - Parameters:
  ///   - path: The catalog.
  ///   - open: Opens a path or URI, and has read from it; called twice at most.
  ///   - code: The extended code of an error of SQLite's; nil for another error.
  /// - Returns: What `open` returns.
  /// - Throws: What `open` throws.
  static func reading<Value>(
    _ path: String, _ open: (String) throws -> Value, code: (any Error) -> Int32?
  ) throws -> Value {
    do {
      return try open(path)
    } catch {
      let kinds = [SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_READONLY]
      guard let code = code(error), kinds.contains(code & 0xFF), (Disk.size(of: path + "-wal") ?? 0) == 0,
        Disk.size(of: path) != nil
      else { throw error }
      let escaped = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
      return try open("file:\(escaped)?immutable=1")
    }
  }
}
