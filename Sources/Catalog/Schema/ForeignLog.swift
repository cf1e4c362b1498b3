// A log beside a catalog that is another catalog's: a command that was killed leaves one, and a backup
// takes the place of the catalog that it was of.

internal import Base
internal import GRDBSQLite

/// Tells the log of another catalog from a catalog's own.
enum ForeignLog {
  /// Where a database says whether it has a log, and what it says where it has none.
  ///
  /// > 18  File format write version. 1 for legacy; 2 for WAL.
  /// https://www.sqlite.org/fileformat2.html
  private static let versionOffset: Int64 = 18
  private static let versionWithoutLog: UInt8 = 1

  /// Refuses a catalog that has no log and beside which one lies.
  ///
  /// SQLite takes whatever has the name for the file's own log: what is read is a mixture of both, and the first
  /// writer makes it last.
  ///
  /// - Parameter connection: A connection that has read nothing yet.
  /// - Throws: ``TarnError`` `.noLake` that names the log.
  static func refuse(beside connection: OpaquePointer?) throws {
    guard let connection, let name = sqlite3_db_filename(connection, "main") else { return }
    let path = String(cString: name)
    // The log first: a writer turns it on in the file before it makes one.
    guard !path.isEmpty, let byteCount = Disk.size(of: path + "-wal"), byteCount > 0,
      version(of: connection) == versionWithoutLog
    else { return }
    throw TarnError(
      .noLake, "\(path)-wal is the log of another catalog than \(path), which has none, as a backup has none",
      hint: "if \(path) was put back, end what uses this lake and remove \(path)-wal and \(path)-shm")
  }

  /// What the file itself says, whatever a log says.
  ///
  /// Read through SQLite's own descriptor: to close another one of the file takes this process's locks off it.
  private static func version(of connection: OpaquePointer) -> UInt8? {
    var file: UnsafeMutablePointer<sqlite3_file>?
    let found = sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file)
    guard found == SQLITE_OK, let file, let read = file.pointee.pMethods?.pointee.xRead else { return nil }
    var version: UInt8 = 0
    guard read(file, &version, 1, versionOffset) == SQLITE_OK else { return nil }
    return version
  }
}
