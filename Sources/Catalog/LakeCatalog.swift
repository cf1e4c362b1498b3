// The only access to a lake's catalog. Owns the SQLite connection, the writer's session
// and the migrations; operations on each entity are in extensions.
//
// Invariants kept here (numbers of the design):
// 1. Bytes before rows: callers pass paths of files that are durable already.
// 7. One transaction at a time: a catalog opened for writing has a session, and
//    every write is one BEGIN IMMEDIATE transaction under the transaction lock.

internal import Base
internal import Foundation
internal import GRDB
internal import Migrations

/// A lake's catalog: reads for everybody, writes for whoever has a session.
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
  /// Pages of the write-ahead log at which SQLite checkpoints, so that the log has a
  /// known size at most (D11).
  static let checkpointPageCount = 100
  /// SQLite's `mmap_size` where much is read once; SQLite takes as much of it as it was built for.
  static let mappedByteCount = 1 << 40

  /// Where the lake's directories are.
  package let layout: LakeLayout

  private let queue: DatabaseQueue
  /// Held while the connection is used, and for ever once the session has ended, as using a closed
  /// connection would read freed memory.
  private let gate = CatalogGate()
  /// What a writer holds of the lake; nil of a reader.
  let session: WriterSession?
  let parts = PartLedger()
  let strayCache = StrayCache()
  /// Bytes of each file system that the user wants free.
  let keptFree: Int
  /// Whether the ballast file was removed to make room, and is to be written again at the end.
  private let isWithoutBallast: Bool

  private init(
    layout: LakeLayout, queue: DatabaseQueue, session: WriterSession?, keptFree: Int = 0, isWithoutBallast: Bool = false
  ) {
    self.layout = layout
    self.queue = queue
    self.session = session
    self.keptFree = keptFree
    self.isWithoutBallast = isWithoutBallast
  }

  deinit { closing() }

  /// Ends a writer's session: its leases are released, and a thread that uses the catalog
  /// from then on blocks until the process ends.
  ///
  /// For a process that is about to end while another thread may release the catalog at
  /// the same moment. Otherwise the session ends with the last reference.
  package var closing: @Sendable () -> Void {
    let (queue, gate, session, layout, isWithoutBallast) = (queue, gate, session, layout, isWithoutBallast)
    return {
      guard let session else { return }
      // The gate before the transaction lock: the same order as in every write.
      gate.shut()
      session.end {
        // Closing removes the log, whose room the ballast may then take.
        try? queue.close()
        if isWithoutBallast { CatalogBallast.lay(layout) }
      }
    }
  }

  /// The beginning of the names of this process's own working files.
  package var workingPrefix: String { session?.workingPrefix ?? "" }

  /// How many commands fetch into the lake, this one included.
  package var fetcherCount: Int { 1 + (session?.otherFetcherCount ?? 0) }

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
    // Refuses directories whose real paths are not UTF-8, before anything is created.
    _ = DirectoryOwner(layout)
    try Disk.makeDirectory(layout.root)
    let session: WriterSession
    do {
      session = try WriterSession(layout, command: "init", isWhole: true, until: .now)
    } catch let error as TarnError where error.code == .locked {
      throw TarnError(.locked, error.message, hint: "wait for it, and look what is there then")
    }
    guard Disk.size(of: layout.catalog) == nil else {
      throw TarnError(
        .conflict, "there is a lake in \(layout.root) already", hint: "use it, or choose another directory")
    }
    if let fault = LostLake.fault(in: layout, .conflict) { throw fault }
    let owner = DirectoryOwner(layout)
    let uuid = try owner.uuid()
    for directory in [layout.shards, layout.artifacts, layout.scratch, layout.versions] {
      try Disk.makeDirectory(directory)
    }
    try owner.claim(for: uuid)
    // Built under another name, so that a crash leaves no half-made catalog.
    let building = layout.catalog + ".new"
    for suffix in ["", "-wal", "-shm", "-journal"] { try Disk.remove(building + suffix) }
    try Disk.makeFile(building)
    do {
      let queue = try connect(to: building, readOnly: false, journal: .default)
      try migrate(queue)
      try queue.write { try LakeRow.insert(uuid: uuid, shards: shards, artifacts: artifacts, $0) }
      try queue.close()
    }
    try Disk.moveIntoPlace(building, layout.catalog)
    return try session.transaction {
      if let refusal = try session.take([]) { throw refusal }
      let catalog = LakeCatalog(
        layout: layout, queue: try connect(to: layout.catalog, readOnly: false), session: session)
      CatalogBallast.lay(layout, keeping: catalog.reserve())
      return catalog
    }
  }

  /// Opens a lake for reading, which takes no lock, or for writing as its only writer.
  ///
  /// - Parameters:
  ///   - root: Its directory.
  ///   - writing: The command that takes the whole lake, told to others that find it
  ///     locked; nil opens it for reading.
  ///   - wait: How long to wait for other writers.
  ///   - orOlder: Whether a catalog of an older schema is accepted, for a reader that
  ///     uses only the table `lake`.
  ///   - claiming: Whether a writer first checks that directories outside the lake
  ///     belong to this lake.
  ///   - givesBack: Whether the command frees room, and so must work on a full disk.
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
    try requireCatalog(plain)
    guard let command = writing else {
      let queue = try connect(to: plain.catalog, readOnly: true, sharesCopy: true)
      _ = try identity(of: queue, plain.catalog, mayBeOlder: orOlder)
      return LakeCatalog(layout: try fullLayout(plain, queue), queue: queue, session: nil, keptFree: keptFree)
    }
    let session = try WriterSession(plain, command: command, isWhole: true, until: .now + wait)
    return try session.transaction {
      try requireWritable(plain)
      let isWithoutBallast = try CatalogBallast.makeRoom(plain, givesBack: givesBack)
      let queue = try connect(to: plain.catalog, readOnly: false)
      _ = try identity(of: queue, plain.catalog, mayBeOlder: true)
      try migrate(queue, backingUp: plain.catalog)
      let catalog = LakeCatalog(
        layout: try fullLayout(plain, queue), queue: queue, session: session, keptFree: keptFree,
        isWithoutBallast: isWithoutBallast)
      if let refusal = try session.take([]) { throw refusal }
      if !isWithoutBallast { CatalogBallast.lay(catalog.layout, keeping: catalog.reserve()) }
      if claiming { try catalog.claimDirectories() }
      try catalog.keepLockTexts()
      return catalog
    }
  }

  /// Opens a lake for writing beside others.
  ///
  /// - Parameters:
  ///   - root: Its directory.
  ///   - command: The command, told to others that need what it has.
  ///   - wait: How long to wait for others that have what it needs.
  ///   - givesBack: Whether the command frees room, and so must work on a full disk.
  ///   - keptFree: Bytes of each file system that stay free, if that is more than the
  ///     rule says.
  ///   - leases: What it needs, by what the catalog says when it is granted.
  /// - Returns: The catalog, with the leases held until it is released.
  /// - Throws: ``TarnError`` `.locked` naming who has what; as
  ///   ``open(root:writing:wait:orOlder:claiming:givesBack:keepingFree:)``.
  package static func open(
    root: String, command: String, wait: Duration = .zero, givesBack: Bool = false, keepingFree keptFree: Int = 0,
    leasing leases: (LakeCatalog) throws -> [Lease]
  ) throws -> LakeCatalog {
    let plain = LakeLayout(root: root)
    let deadline = ContinuousClock.now + wait
    while true {
      try requireCatalog(plain)
      switch try attempt(plain, command, until: deadline, givesBack: givesBack, keepingFree: keptFree, leases) {
      case .granted(let catalog): return catalog
      case .older:
        // Migrating takes the whole lake; afterwards the leases are asked for again.
        _ = try open(root: root, writing: command, wait: deadline - .now)
      case .taken(let refusal):
        guard ContinuousClock.now < deadline else { throw refusal }
        usleep(50_000)
      }
    }
  }

  /// What came of asking for leases.
  private enum Attempt {
    case granted(LakeCatalog)
    case older
    case taken(TarnError)
  }

  private static func attempt(
    _ plain: LakeLayout, _ command: String, until deadline: ContinuousClock.Instant, givesBack: Bool,
    keepingFree keptFree: Int, _ leases: (LakeCatalog) throws -> [Lease]
  ) throws -> Attempt {
    let session = try WriterSession(plain, command: command, isWhole: false, until: deadline)
    return try session.transaction {
      try requireWritable(plain)
      let isWithoutBallast = try CatalogBallast.makeRoom(plain, givesBack: givesBack)
      let queue = try connect(to: plain.catalog, readOnly: false)
      guard try identity(of: queue, plain.catalog, mayBeOlder: true) == schemaNumber else {
        try queue.close()
        return .older
      }
      let catalog = LakeCatalog(
        layout: try fullLayout(plain, queue), queue: queue, session: session, keptFree: keptFree,
        isWithoutBallast: isWithoutBallast)
      if !isWithoutBallast { CatalogBallast.lay(catalog.layout, keeping: catalog.reserve()) }
      try catalog.claimDirectories()
      if let refusal = try session.take(catalog.withFileOwners(leases(catalog))) { return .taken(refusal) }
      try catalog.keepLockTexts()
      return .granted(catalog)
    }
  }

  private static func requireCatalog(_ plain: LakeLayout) throws {
    guard let size = Disk.size(of: plain.catalog), size > 0 else {
      if let fault = LostLake.fault(in: plain, .noLake) { throw fault }
      guard Disk.size(of: plain.catalog) == nil else {
        throw TarnError(.noLake, "\(plain.catalog) is empty", hint: "it is not a catalog; restore a backup")
      }
      throw TarnError(
        .noLake, "there is no lake in \(plain.root)", hint: "make one with `tarn init`, or name one with --lake")
    }
  }

  /// Checks what a writer checks when it opens a lake, for a dry run, which only reads.
  ///
  /// - Throws: ``TarnError`` `.io`, also when a directory with files is not there; `.conflict` when one is another
  ///   lake's.
  package func requireWritable() throws {
    try Self.requireWritable(layout)
    if let fault = try lostDirectory() { throw fault }
    let (owner, uuid) = (DirectoryOwner(layout), try uuid())
    for directory in owner.directories {
      if let objection = try owner.objection(to: directory, by: uuid) { throw objection }
    }
  }

  static func requireWritable(_ plain: LakeLayout) throws {
    try Disk.requireWritable(plain.root)
    guard access(plain.catalog, W_OK) == 0 else { throw Disk.systemError("write to", plain.catalog) }
  }

  /// The directories that a catalog says are the lake's.
  private static func fullLayout(_ plain: LakeLayout, _ queue: DatabaseQueue) throws -> LakeLayout {
    let directories = try wrapped(at: plain.catalog) {
      try queue.read { database in
        try Row.fetchOne(database, sql: "SELECT shards_directory, artifacts_directory FROM lake")
      }
    }
    guard let directories else { throw TarnError(.integrity, "\(plain.catalog) has no row in table lake") }
    return LakeLayout(
      root: plain.root, shards: directories["shards_directory"], artifacts: directories["artifacts_directory"])
  }

  /// The settings of a connection.
  ///
  /// - Parameters:
  ///   - readOnly: Whether it writes nothing.
  ///   - isAlone: Whether it locks others out, and keeps the log's index in its own memory.
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
      // Both before anything is read of the file.
      try ForeignLog.refuse(beside: database.sqliteConnection)
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

  /// A copy of a catalog in memory; includes the log if it is read alone.
  private static func copied(_ path: String, isAlone: Bool) throws -> DatabaseQueue {
    let source = try DatabaseQueue(path: path, configuration: configuration(readOnly: true, isAlone: isAlone))
    let memory = try DatabaseQueue(configuration: configuration(readOnly: false))
    try source.backup(to: memory)
    try source.close()
    try memory.inDatabase { try $0.execute(sql: "PRAGMA query_only = ON") }
    return memory
  }

  /// The copy that readers of this process share, so that none of them closes it.
  private static let copies = CatalogCopies<DatabaseQueue>()

  static func connect(
    to path: String, readOnly: Bool, journal: Configuration.JournalModeConfiguration = .wal, sharesCopy: Bool = false
  ) throws -> DatabaseQueue {
    try wrapped(at: path) {
      guard !readOnly else {
        return try reading(path) {
          try DatabaseQueue(path: $0, configuration: configuration(readOnly: true))
        } copy: { place, isAlone in
          guard sharesCopy else { return try copied(place, isAlone: isAlone) }
          return try copies.copy(of: path) { try copied(place, isAlone: isAlone) }
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

  /// The schema number of a file, which is refused if it is no catalog.
  private static func identity(of queue: DatabaseQueue, _ path: String, mayBeOlder: Bool) throws -> Int {
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
        return number
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
        let need = max(CatalogBallast.byteCount, byteCount.multipliedSaturated(by: 3))
        let verdict = try DiskReserve().verdict(on: "the migration", taking: need, of: FileSystem(of: path))
        if case .refused(let error) = verdict { throw error }
      }
      try queue.inDatabase { database in
        // All pages are read once, mapped; a read that fails ends without a commit.
        try database.execute(sql: "PRAGMA cache_size = -262144; PRAGMA mmap_size = \(mappedByteCount)")
        // Tables are replaced under names that other tables refer to.
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
          if from == 0 { try makeSchema(in: database) } else { try applyMigrations(after: from, to: database) }
          try database.execute(
            sql: "PRAGMA user_version = \(schemaNumber); PRAGMA application_id = \(applicationID)")
          // Schema 1 had no history: it begins with this event.
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
      try gate.passing {
        try queue.read { database in
          try LakeCatalog.tellingOfFullDisks(database, layout.catalog) { try body(database) }
        }
      }
    }
  }

  /// Runs one BEGIN IMMEDIATE transaction, and the checkpoint that its commit may
  /// bring, while no other process is in one (invariant 7).
  ///
  /// - Parameters:
  ///   - step: What is recorded, for the fault plan.
  ///   - body: The statements; an error rolls all of them back.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws, SQLite's errors as ``TarnError``.
  func write<Value>(_ step: String, _ body: (Database) throws -> Value) throws -> Value {
    guard let session else { preconditionFailure("writing through a catalog that was opened for reading") }
    return try LakeCatalog.wrapped(at: layout.catalog) {
      try gate.passing {
        try queue.writeWithoutTransaction { database in
          try session.transaction {
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
    }
  }

  /// Runs statements that cannot be part of a transaction, such as VACUUM INTO.
  func outsideTransaction<Value>(_ body: (Database) throws -> Value) throws -> Value {
    try LakeCatalog.wrapped(at: layout.catalog) { try gate.passing { try queue.inDatabase(body) } }
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
