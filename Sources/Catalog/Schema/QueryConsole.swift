// `tarn sql`: a connection of its own on which nothing can be changed.
// Owns one SQLite handle and finalizes every statement it prepares.

package import Base
internal import GRDBSQLite
internal import Synchronization

/// One value of a query's result.
package enum SQLValue: Sendable, Equatable {
  case null
  case integer(Int64)
  case real(Double)
  case text(String)
  case blob([UInt8])
}

/// A read-only SQL console on a catalog.
///
/// The connection is read-only; an authorizer allows SELECT, column reads,
/// functions and recursion, and refuses ATTACH, PRAGMA and everything else. A
/// time limit and ``interrupt()`` stop a query that runs away.
///
/// Sendable because every use of the handle but `sqlite3_interrupt`, which is
/// safe from any thread, happens inside one call of ``run(_:row:)`` at a time,
/// guarded by the mutex.
package final class QueryConsole: @unchecked Sendable {
  private let handle: OpaquePointer
  private let deadline = Mutex<ContinuousClock.Instant?>(nil)
  private let running = Mutex<Void>(())
  private let timeLimit: Duration?

  /// Opens a console.
  ///
  /// - Parameters:
  ///   - layout: The lake.
  ///   - timeLimit: The longest a query may run; nil for no limit.
  /// - Throws: ``TarnError`` when the catalog cannot be opened.
  package init(layout: LakeLayout, timeLimit: Duration?) throws {
    self.timeLimit = timeLimit
    let opened: OpaquePointer
    do {
      opened = try LakeCatalog.reading(layout.catalog) {
        try QueryConsole.connect($0, isAlone: false)
      } copy: {
        try QueryConsole.copied($0, isAlone: $1)
      } code: {
        ($0 as? OpeningFailure)?.code
      }
    } catch let failure as OpeningFailure {
      throw TarnError(sqliteCode: failure.code, failure.message, at: layout.catalog)
        ?? TarnError(.io, "cannot open the catalog: \(failure.message)")
    }
    handle = opened
    let pragmas = """
      PRAGMA cache_size = \(LakeCatalog.cacheSize); PRAGMA mmap_size = \(LakeCatalog.mappedByteCount);
      \(LakeCatalog.temporaryStore)
      """
    sqlite3_exec(opened, pragmas, nil, nil, nil)
    sqlite3_limit(opened, SQLITE_LIMIT_ATTACHED, 0)
    sqlite3_limit(opened, SQLITE_LIMIT_SQL_LENGTH, 1_000_000)
    sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, Int32(QueryConsole.rowByteCount))
    // Of the whole process: what a query builds in memory is no reason to take all of it.
    sqlite3_hard_heap_limit64(QueryConsole.heapByteCount)
    sqlite3_set_authorizer(opened, QueryConsole.authorize, nil)
    sqlite3_progress_handler(
      opened, 10_000,
      { context in
        guard let context else { return 0 }
        return Unmanaged<QueryConsole>.fromOpaque(context).takeUnretainedValue().isOverdue ? 1 : 0
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  /// The most bytes of a value, and of a row.
  static let rowByteCount = 100_000_000
  /// The most bytes that SQLite may have in memory, pages of the catalog included.
  private static let heapByteCount: Int64 = 1 << 30

  /// A connection that could not be opened, or not read from.
  private struct OpeningFailure: Error {
    let code: Int32
    let message: String
  }

  /// A catalog in memory, with its log where it is read alone.
  private static func copied(_ path: String, isAlone: Bool) throws -> OpaquePointer {
    let source = try connect(path, isAlone: isAlone)
    defer { sqlite3_close(source) }
    let memory = try connect(":memory:", isAlone: true)
    guard let backup = sqlite3_backup_init(memory, "main", source, "main") else {
      sqlite3_close(memory)
      throw OpeningFailure(code: SQLITE_NOMEM, message: "out of memory")
    }
    let status = sqlite3_backup_step(backup, -1)
    sqlite3_backup_finish(backup)
    guard status == SQLITE_DONE else {
      sqlite3_close(memory)
      throw OpeningFailure(code: status, message: "the catalog could not be copied")
    }
    return memory
  }

  private static func connect(_ path: String, isAlone: Bool) throws -> OpaquePointer {
    var opened: OpaquePointer?
    let access = isAlone ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY
    var status = sqlite3_open_v2(path, &opened, access | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nil)
    sqlite3_busy_timeout(opened, isAlone ? 1_000 : 10_000)
    do {
      if status == SQLITE_OK { try ForeignLog.refuse(beside: opened) }
    } catch {
      sqlite3_close(opened)
      throw error
    }
    if isAlone, path != ":memory:", status == SQLITE_OK {
      status = sqlite3_exec(opened, LakeCatalog.aloneManner, nil, nil, nil)
    }
    // The log is looked for when something is read.
    if status == SQLITE_OK { status = sqlite3_exec(opened, "SELECT 1 FROM sqlite_schema LIMIT 1", nil, nil, nil) }
    if status == SQLITE_OK, let opened { return opened }
    let code = opened.map { sqlite3_extended_errcode($0) } ?? SQLITE_NOMEM
    let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
    // > Whether or not an error occurs when it is opened, resources
    // > associated with the handle should be released by sqlite3_close().
    // https://www.sqlite.org/c3ref/open.html
    sqlite3_close(opened)
    throw OpeningFailure(code: code, message: message)
  }

  private static let authorize:
    @convention(c) (
      UnsafeMutableRawPointer?, CInt, UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<CChar>?,
      UnsafePointer<CChar>?
    ) -> CInt = { _, action, _, name, _, _ in
      switch action {
      case SQLITE_SELECT, SQLITE_READ, SQLITE_RECURSIVE: return SQLITE_OK
      case SQLITE_FUNCTION:
        // The second tells addresses in memory to whoever asks.
        let denied = ["load_extension", "fts3_tokenizer"]
        return name.map { denied.contains(String(cString: $0).lowercased()) } == true ? SQLITE_DENY : SQLITE_OK
      default: return SQLITE_DENY
      }
    }

  /// The error of a query that ran longer than it may.
  package static var overdue: TarnError {
    TarnError(.usage, "the query ran longer than allowed", hint: "narrow it, or raise --timeout")
  }

  private var isOverdue: Bool {
    deadline.withLock { $0.map { ContinuousClock.now > $0 } ?? false }
  }

  /// Stops a running query, from any thread.
  package func interrupt() { sqlite3_interrupt(handle) }

  /// Runs one statement.
  ///
  /// - Parameters:
  ///   - sql: A single SELECT (or WITH … SELECT, VALUES, EXPLAIN).
  ///   - row: Called with the column names and each row's values, in order;
  ///     once with nil for a row first, so that the names are known.
  /// - Throws: ``TarnError`` `.usage` for SQL that is malformed or not
  ///   allowed, or ran too long; what `row` throws.
  package func run(_ sql: String, row: (_ columns: [String], _ values: [SQLValue]?) throws -> Void) throws {
    // Where SQLite takes a statement to end.
    guard !sql.utf8.contains(0) else {
      throw TarnError(.usage, "the SQL statement has a character of value 0", hint: "write char(0) for it")
    }
    try running.withLock { _ in
      deadline.withLock { $0 = timeLimit.map { ContinuousClock.now + $0 } }
      var statement: OpaquePointer?
      let (status, rest) = sql.withCString { text in
        var tail: UnsafePointer<CChar>?
        let status = sqlite3_prepare_v2(handle, text, -1, &statement, &tail)
        return (status, tail.map { String(cString: $0) } ?? "")
      }
      defer { sqlite3_finalize(statement) }
      guard status == SQLITE_OK else { throw failure(status) }
      guard let statement else {
        throw TarnError(.usage, "there is no SQL statement", hint: "e.g. tarn sql \"SELECT * FROM v_source\"")
      }
      guard rest.allSatisfy({ $0.isWhitespace || $0 == ";" }) else {
        throw TarnError(.usage, "there is more than one SQL statement", hint: "run them one by one")
      }
      let columns = (0..<sqlite3_column_count(statement)).map { String(cString: sqlite3_column_name(statement, $0)) }
      try row(columns, nil)
      while true {
        let status = sqlite3_step(statement)
        if status == SQLITE_DONE { return }
        guard status == SQLITE_ROW else { throw failure(status) }
        // Of what is text or bytes already: a number would become text by the question.
        let byteCount = (0..<Int32(columns.count)).reduce(0) { sum, column in
          let isSized = [SQLITE_TEXT, SQLITE_BLOB].contains(sqlite3_column_type(statement, column))
          return sum + (isSized ? Int(sqlite3_column_bytes(statement, column)) : 0)
        }
        guard byteCount <= QueryConsole.rowByteCount else {
          throw TarnError(
            .usage, "a row of the result has \(ByteSize.text(byteCount))", hint: "ask for parts of it, with substr()")
        }
        try row(columns, (0..<Int32(columns.count)).map { value(statement, $0) })
      }
    }
  }

  private func value(_ statement: OpaquePointer, _ column: Int32) -> SQLValue {
    switch sqlite3_column_type(statement, column) {
    case SQLITE_INTEGER: return .integer(sqlite3_column_int64(statement, column))
    case SQLITE_FLOAT: return .real(sqlite3_column_double(statement, column))
    case SQLITE_TEXT:
      let bytes = sqlite3_column_text(statement, column)
      let count = Int(sqlite3_column_bytes(statement, column))
      return .text(String(decoding: UnsafeBufferPointer(start: bytes, count: bytes == nil ? 0 : count), as: UTF8.self))
    case SQLITE_BLOB:
      let bytes = sqlite3_column_blob(statement, column)
      return .blob(Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column)))))
    default: return .null
    }
  }

  private func failure(_ status: Int32) -> TarnError {
    let message = String(cString: sqlite3_errmsg(handle))
    switch status & 0xFF {
    case SQLITE_INTERRUPT:
      return isOverdue ? QueryConsole.overdue : TarnError.interrupted
    case SQLITE_AUTH:
      return TarnError(
        .usage, "only SELECT is allowed here (\(message.printable))",
        hint: "tarn sql reads; it cannot change the catalog")
    case SQLITE_NOMEM, SQLITE_TOOBIG:
      return TarnError(
        .usage, "the query needs more memory than it may have", hint: "narrow it, or ask for less in one value")
    default:
      let code = sqlite3_extended_errcode(handle)
      let views = "`tarn schema` lists the views and their columns"
      let word = message.hasPrefix(QueryConsole.noColumn) ? message.dropFirst(QueryConsole.noColumn.count) : ""
      let isName = !word.isEmpty && names().contains(String(word))
      return TarnError(sqliteCode: code, message.printable)
        ?? TarnError(
          .usage, "SQL: \(message.printable)",
          hint: isName ? "a name is text and stands in single quotes: '\(word.printable)'" : views)
    }
  }

  /// How SQLite begins to say that there is no such column.
  private static let noColumn = "no such column: "

  /// What sources, versions and trained indexes are called; nothing where that cannot be read now.
  private func names() -> Set<String> {
    var statement: OpaquePointer?
    defer { sqlite3_finalize(statement) }
    let sql = "SELECT name FROM source UNION SELECT name FROM index_version UNION SELECT name FROM trained_index"
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK, let statement else { return [] }
    var names: Set<String> = []
    while sqlite3_step(statement) == SQLITE_ROW { if case .text(let name) = value(statement, 0) { names.insert(name) } }
    return names
  }

  deinit { sqlite3_close(handle) }
}
