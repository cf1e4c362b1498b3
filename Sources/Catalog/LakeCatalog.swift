// The one door to a lake's catalog. Owns the SQLite connection, the writer
// lock and the migrations; the entities' operations are in extensions.
//
// Invariants kept here (numbers of the design):
// 1. Bytes before rows: callers pass paths of files that are durable already.
// 7. One writer: a catalog opened for writing holds the lake's lock, and every
//    write is one BEGIN IMMEDIATE transaction.

internal import Base
internal import Foundation
internal import GRDB
internal import Migrations

/// A lake's catalog: reads for everybody, writes for the one writer.
///
/// Sendable because the database queue serialises every access and the other
/// properties never change.
package final class LakeCatalog: Sendable {
  /// `TARN` in ASCII: what `file` and other tools know the catalog by.
  package static let applicationID: Int32 = 0x5441_524E
  /// The schema this build reads and writes, views included.
  package static let schemaNumber = migrations.last?.number ?? 0

  /// SQLite's `cache_size` of every connection: 64 MiB, for catalogs of a million
  /// shards; the 2 MiB of the default are read over and over.
  static let cacheSize = -65_536
  /// Pages of the log at which it is brought into the catalog, so that what the log
  /// may take is known (D11).
  static let checkpointPageCount = 100
  /// SQLite's `mmap_size` where much is read once: as much as it was built for.
  static let mappedByteCount = 1 << 40

  /// Where the lake's directories are.
  package let layout: LakeLayout

  private let queue: DatabaseQueue
  private let lock: WriterLock?
  let parts = PartLedger()
  /// Bytes of each file system that the user wants free.
  let keptFree: Int
  /// Whether the ballast was let go, to be laid again at the end.
  private let isWithoutBallast: Bool

  private init(
    layout: LakeLayout, queue: DatabaseQueue, lock: WriterLock?, keptFree: Int = 0, isWithoutBallast: Bool = false
  ) {
    self.layout = layout
    self.queue = queue
    self.lock = lock
    self.keptFree = keptFree
    self.isWithoutBallast = isWithoutBallast
  }

  deinit {
    guard isWithoutBallast else { return }
    // Closed first: then the log is gone, and its room is free.
    try? queue.close()
    CatalogBallast.lay(layout)
  }

  /// Whether this process may write, and no other does.
  var isWriter: Bool { lock != nil }

  // MARK: Opening

  /// Makes a new lake.
  ///
  /// - Parameters:
  ///   - root: Its directory; created when missing.
  ///   - shards: Directory of fetched shards, relative to `root` or absolute.
  ///   - artifacts: Directory of results, relative to `root` or absolute.
  /// - Returns: The catalog, open for writing.
  /// - Throws: ``TarnError`` `.conflict` when there is a lake already, or another
  ///   lake has one of the directories.
  package static func create(root: String, shards: String, artifacts: String) throws -> LakeCatalog {
    let layout = LakeLayout(root: root, shards: shards, artifacts: artifacts)
    if let other = OutputPlace.owner(of: DirectoryOwner.real(layout.root) + "/any") {
      throw TarnError(
        .conflict, "\(layout.root) is in the lake \(other), among its own files", hint: "choose another directory")
    }
    try Disk.makeDirectory(layout.root)
    let lock = try WriterLock(path: layout.lock, command: "init")
    guard Disk.size(of: layout.catalog) == nil else {
      throw TarnError(
        .conflict, "there is a lake in \(layout.root) already", hint: "use it, or choose another directory")
    }
    if let name = VersionDirectories.sealed(in: layout).first {
      throw TarnError(
        .conflict, "\(layout.root) holds sealed versions, \(name) for one, and has lost its catalog",
        hint: "restore a backup of catalog.sqlite, or make it again with `tarn rebuild-catalog`")
    }
    let owner = DirectoryOwner(layout)
    let uuid = try owner.uuid()
    for directory in [layout.shards, layout.artifacts, layout.scratch, layout.versions] {
      try Disk.makeDirectory(directory)
    }
    try owner.claim(for: uuid)
    // Built under another name, so that a crash leaves no half-made catalog.
    let building = layout.catalog + ".new"
    for suffix in ["", "-wal", "-shm", "-journal"] { try Disk.remove(building + suffix) }
    do {
      let queue = try connect(to: building, readOnly: false, journal: .default)
      try migrate(queue)
      try queue.write { try LakeRow.insert(uuid: uuid, shards: shards, artifacts: artifacts, $0) }
      try queue.close()
    }
    try Disk.moveIntoPlace(building, layout.catalog)
    let queue = try connect(to: layout.catalog, readOnly: false)
    let catalog = LakeCatalog(layout: layout, queue: queue, lock: lock)
    CatalogBallast.lay(layout, keeping: catalog.reserve())
    return catalog
  }

  /// Opens a lake.
  ///
  /// - Parameters:
  ///   - root: Its directory.
  ///   - writing: The command that writes, told to others that find the lake
  ///     locked; nil opens it for reading, which never locks.
  ///   - wait: How long to wait for another writer.
  ///   - orOlder: Whether a reader that looks into no table but `lake` takes a
  ///     catalog of an older schema as it is.
  ///   - claiming: Whether a writer makes sure first that directories outside the
  ///     lake are the lake's.
  ///   - givesBack: Whether a writer gives room back, and so works on a full disk.
  ///   - keptFree: Bytes of each file system that stay free, if that is more than the
  ///     rule says.
  /// - Returns: The catalog, migrated to this build's schema when writing.
  /// - Throws: ``TarnError`` `.noLake`, `.schemaNewer`, `.schemaOlder`,
  ///   `.locked`, `.io`; `.conflict` for a writer when a directory is another lake's.
  package static func open(
    root: String, writing: String?, wait: Duration = .zero, orOlder: Bool = false, claiming: Bool = true,
    givesBack: Bool = false, keepingFree keptFree: Int = 0
  ) throws -> LakeCatalog {
    let plain = LakeLayout(root: root)
    guard let size = Disk.size(of: plain.catalog), size > 0 else {
      if let name = VersionDirectories.sealed(in: plain).first {
        throw TarnError(
          .noLake, "\(plain.root) has lost its catalog and holds sealed versions, \(name) for one",
          hint: "restore a backup of catalog.sqlite, or make it again with `tarn rebuild-catalog`")
      }
      guard Disk.size(of: plain.catalog) == nil else {
        throw TarnError(.noLake, "\(plain.catalog) is empty", hint: "it is not a catalog; restore a backup")
      }
      throw TarnError(
        .noLake, "there is no lake in \(plain.root)", hint: "make one with `tarn init`, or name one with --lake")
    }
    let lock = try writing.map { try WriterLock(path: plain.lock, command: $0, wait: wait) }
    if lock != nil, access(plain.catalog, W_OK) != 0 || access(plain.root, W_OK) != 0 {
      throw Disk.systemError("write to", plain.catalog)
    }
    let isWithoutBallast = try lock != nil && CatalogBallast.makeRoom(plain, givesBack: givesBack)
    let queue = try connect(to: plain.catalog, readOnly: lock == nil)
    try checkIdentity(queue, plain.catalog, mayBeOlder: orOlder || lock != nil)
    if lock != nil { try migrate(queue, backingUp: plain.catalog) }
    let directories = try wrapped(at: plain.catalog) {
      try queue.read { database in
        try Row.fetchOne(database, sql: "SELECT shards_directory, artifacts_directory FROM lake")
      }
    }
    guard let directories else { throw TarnError(.integrity, "\(plain.catalog) has no row in table lake") }
    let layout = LakeLayout(
      root: root, shards: directories["shards_directory"], artifacts: directories["artifacts_directory"])
    let catalog = LakeCatalog(
      layout: layout, queue: queue, lock: lock, keptFree: keptFree, isWithoutBallast: isWithoutBallast)
    if lock != nil {
      if !isWithoutBallast { CatalogBallast.lay(layout, keeping: catalog.reserve()) }
      if claiming { try DirectoryOwner(layout).claim(for: catalog.uuid()) }
      try catalog.keepLockTexts()
    }
    return catalog
  }

  /// How a connection behaves.
  ///
  /// - Parameters:
  ///   - readOnly: Whether it writes nothing.
  ///   - isAlone: Whether it keeps the log's index in memory, and others out.
  ///   - journal: The journal of a connection that writes.
  /// - Returns: The configuration.
  private static func configuration(
    readOnly: Bool, isAlone: Bool = false, journal: Configuration.JournalModeConfiguration = .default
  ) -> Configuration {
    var configuration = Configuration()
    configuration.readonly = readOnly && !isAlone
    configuration.busyMode = .timeout(isAlone ? 1 : 10)
    configuration.foreignKeysEnabled = true
    configuration.journalMode = journal
    configuration.maximumReaderCount = 1
    configuration.prepareDatabase { database in
      // Before anything is read of the file.
      if isAlone { try database.execute(sql: aloneManner) }
      // recursive_triggers: REPLACE must fire the triggers that guard deletes.
      try database.execute(
        sql: """
          PRAGMA trusted_schema = OFF; PRAGMA recursive_triggers = ON; PRAGMA cache_size = \(cacheSize);
          PRAGMA wal_autocheckpoint = \(checkpointPageCount); \(temporaryStore)
          """)
    }
    return configuration
  }

  /// A catalog and its log in memory, where its index has no room on the disk.
  private static func copied(_ path: String) throws -> DatabaseQueue {
    let source = try DatabaseQueue(path: path, configuration: configuration(readOnly: true, isAlone: true))
    let memory = try DatabaseQueue(configuration: configuration(readOnly: false))
    try source.backup(to: memory)
    try source.close()
    try memory.inDatabase { try $0.execute(sql: "PRAGMA query_only = ON") }
    return memory
  }

  static func connect(
    to path: String, readOnly: Bool, journal: Configuration.JournalModeConfiguration = .wal
  ) throws -> DatabaseQueue {
    try wrapped(at: path) {
      guard !readOnly else {
        return try reading(path) {
          try DatabaseQueue(path: $0, configuration: configuration(readOnly: true))
        } copy: {
          try copied(path)
        } code: {
          ($0 as? DatabaseError)?.extendedResultCode.rawValue
        }
      }
      let queue = try DatabaseQueue(path: path, configuration: configuration(readOnly: false, journal: journal))
      // GRDB asks for NORMAL with a write-ahead log: a power failure could then
      // take back a commit and leave the removal of bytes that followed it.
      try queue.inDatabase {
        try $0.execute(sql: "PRAGMA synchronous = FULL")
        guard journal == .wal else { return }
        _ = try Int.fetchOne($0, sql: "SELECT count(*) FROM sqlite_schema")
        fillIndex(of: path)
      }
      return queue
    }
  }

  private static func checkIdentity(_ queue: DatabaseQueue, _ path: String, mayBeOlder: Bool) throws {
    try wrapped(at: path) {
      try queue.read { database in
        let identity = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let number = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard identity == applicationID else {
          throw TarnError(.noLake, "\(path) is not a tarn catalog", hint: "make a lake with `tarn init`")
        }
        guard number <= schemaNumber else {
          throw TarnError(
            .schemaNewer, "the catalog has schema \(number), this tarn knows \(schemaNumber)", hint: "use a newer tarn")
        }
        guard number == schemaNumber || mayBeOlder else {
          throw TarnError(
            .schemaOlder, "the catalog has schema \(number), this tarn reads \(schemaNumber)",
            hint: "migrate it with `tarn schema --migrate`, which keeps a copy, or use the tarn that wrote it")
        }
      }
    }
  }

  /// Applies the migrations that a catalog has not seen, all or none.
  ///
  /// - Parameters:
  ///   - queue: The catalog's connection.
  ///   - path: The catalog's file; a checked copy is beside it before anything
  ///     is committed. Nil for a catalog that is being made.
  /// - Throws: ``TarnError``; the catalog is then as it was.
  static func migrate(_ queue: DatabaseQueue, backingUp path: String? = nil) throws {
    try wrapped(at: path) {
      let from = try queue.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 }
      guard from < schemaNumber else { return }
      if let path, let byteCount = Disk.size(of: path) {
        // A copy, the log of every page, and the pages that are added.
        let need = max(CatalogBallast.byteCount, byteCount.multipliedReportingOverflow(by: 3).partialValue)
        let verdict = try DiskReserve().verdict(on: "the migration", taking: need, of: FileSystem(of: path))
        if case .refused(let error) = verdict { throw error }
      }
      try queue.inDatabase { database in
        // Everything is read through once, and a failed read ends in no commit.
        try database.execute(sql: "PRAGMA cache_size = -262144; PRAGMA mmap_size = \(mappedByteCount)")
        // Tables are made anew under the names that others refer to.
        try database.execute(sql: "PRAGMA foreign_keys = OFF")
        defer {
          try? database.execute(
            sql: "PRAGMA cache_size = \(cacheSize); PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON")
        }
        try database.inTransaction(.immediate) {
          // Nobody else can commit from here on, so that the copy, taken and
          // checked on a thread of its own meanwhile, is of what is migrated.
          let backup = path.map { path in
            ThreadedWork("tarn-backup") { try copyBeforeMigration(of: path, schemaNumber: from) }
          }
          defer { _ = try? backup?.wait() }
          try applyMigrations(after: from, to: database)
          try database.execute(
            sql: "PRAGMA user_version = \(schemaNumber); PRAGMA application_id = \(applicationID)")
          // A catalog from before there was a history begins one with this.
          if from == 1 {
            try record(.migrated, "catalog", ["from": .count(from), "to": .count(schemaNumber)], database)
          }
          let references = Result { try database.checkForeignKeys() }
          try backup?.wait()
          try references.get()
          try FaultPlan.step("commit", "migration to schema \(schemaNumber)")
          return .commit
        }
      }
    }
  }

  // MARK: Access for the extensions

  /// Runs reads on one consistent view of the catalog.
  func read<Value>(_ body: (Database) throws -> Value) throws -> Value {
    try LakeCatalog.wrapped(at: layout.catalog) {
      try queue.read { database in try LakeCatalog.tellingOfFullDisks(database, layout.catalog) { try body(database) } }
    }
  }

  /// Runs one BEGIN IMMEDIATE transaction (invariant 7).
  ///
  /// - Parameters:
  ///   - step: What is recorded, for the fault plan.
  ///   - body: The statements; an error rolls all of them back.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws, SQLite's errors as ``TarnError``.
  func write<Value>(_ step: String, _ body: (Database) throws -> Value) throws -> Value {
    precondition(lock != nil, "writing through a catalog that was opened for reading")
    return try LakeCatalog.wrapped(at: layout.catalog) {
      try queue.writeWithoutTransaction { database in
        var result: Value?
        try LakeCatalog.tellingOfFullDisks(database, layout.catalog) {
          try database.inTransaction(.immediate) {
            result = try body(database)
            try FaultPlan.step("commit", step)
            return .commit
          }
        }
        guard let result else { preconditionFailure("a transaction ended without its result") }
        return result
      }
    }
  }

  /// Runs statements that cannot be part of a transaction, such as VACUUM INTO.
  func outsideTransaction<Value>(_ body: (Database) throws -> Value) throws -> Value {
    try LakeCatalog.wrapped(at: layout.catalog) { try queue.inDatabase(body) }
  }

  /// Turns SQLite's errors into the catalog's, with what to do.
  ///
  /// - Parameters:
  ///   - path: The catalog, where it may be the disk that is at fault.
  ///   - body: What may fail.
  /// - Returns: What `body` returns.
  /// - Throws: ``TarnError``.
  static func wrapped<Value>(at path: String? = nil, _ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch let error as DatabaseError {
      let message = error.message ?? "SQLite error \(error.resultCode.rawValue)"
      throw TarnError(sqliteCode: error.extendedResultCode.rawValue, message, at: path)
        ?? TarnError(.database, message.printable)
    }
  }
}
