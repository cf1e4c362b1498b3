// Every statement of a catalog that can be held against something else: sealed
// versions, trained indexes, sources, the schema itself. What `verify` names one
// by one and `doctor` looks at; bytes of big files are not read here.

internal import Base
internal import GRDB
internal import Migrations

/// What a catalog's statements come to.
package struct CatalogFacts: Sendable {
  /// Something whose statements were checked.
  package struct Fact: Sendable {
    /// As people call it: `v@1`, `the trained index t`.
    package let subject: String
    package let verdict: StatementVerdict
  }

  package fileprivate(set) var sealed: [SealedVerdict] = []
  package fileprivate(set) var others: [Fact] = []

  /// What the catalog states of everything; lock files and documents are apart.
  package var statements: [Fact] {
    sealed.map { Fact(subject: "\($0.version)", verdict: $0.catalog) } + others
  }

  /// What was not checked, each kind once with what it is of.
  package var unchecked: [StatementVerdict.Omission] {
    var subjects: [StatementVerdict.Omission: [String]] = [:]
    var order: [StatementVerdict.Omission] = []
    let all =
      sealed.map { Fact(subject: "\($0.version)", verdict: $0.catalog) }
      + sealed.map { Fact(subject: "\($0.version)", verdict: $0.document) } + others
    for fact in all {
      for omission in fact.verdict.unchecked {
        if subjects[omission] == nil { order.append(omission) }
        // A version may lack an event of its sealing and one of its end.
        if subjects[omission]?.last != fact.subject { subjects[omission, default: []].append(fact.subject) }
      }
    }
    return order.map { omission in
      StatementVerdict.Omission("\(omission.field) of \((subjects[omission] ?? []).listed())", omission.reason)
    }
  }
}

extension LakeCatalog {
  /// Holds everything that the catalog states for good against whatever else
  /// tells of it.
  ///
  /// - Parameter believesHistory: Whether events are believed; not where their
  ///   chain is broken.
  /// - Returns: What was found, of each thing.
  /// - Throws: ``TarnError`` when the catalog cannot be read at all.
  package func facts(believesHistory: Bool = true) throws -> CatalogFacts {
    var facts = CatalogFacts()
    func add(_ subject: String, _ checks: (inout StatementVerdict) throws -> Void) throws {
      var verdict = StatementVerdict()
      try noting(&verdict, checks)
      facts.others.append(.init(subject: subject, verdict: verdict))
    }
    let orphans = try orphans()
    try add("the catalog") { verdict in
      try self.checkSchema(&verdict)
      for table in orphans {
        verdict.differ("references of \(table)", expected: "rows that are there", found: "none")
      }
    }
    // Rows that lead nowhere cannot be read as what they are.
    guard orphans.isEmpty else { return facts }
    if believesHistory {
      let history = try sourceHistory()
      try add("the history") { $0.merge(try self.vanished(history)) }
      for (id, name) in try named("source") {
        try add("the source \(name)") { $0.merge(try self.verdict(of: self.source(id: id), history)) }
      }
    }
    for (id, name) in try named("trained_index WHERE state = 'ready'") {
      try add("the trained index \(name)") { verdict in
        verdict.merge(try self.verdict(of: self.trainedIndex(id: id), believesHistory: believesHistory))
      }
    }
    for (id, name) in try named("index_version WHERE version_sha256 IS NOT NULL") {
      var failed = StatementVerdict()
      var sealed: SealedVerdict?
      try noting(&failed) { _ in sealed = try self.verdict(of: self.version(id: id), believesHistory: believesHistory) }
      if let sealed { facts.sealed.append(sealed) }
      if !failed.isClean { facts.others.append(.init(subject: name, verdict: failed)) }
    }
    return facts
  }

  private func named(_ table: String) throws -> [(id: Int64, name: String)] {
    try read { database in
      try Row.fetchAll(database, sql: "SELECT id, name FROM \(table) ORDER BY id").map {
        ($0["id"], ($0["name"] as String).printable)
      }
    }
  }

  private func version(id: Int64) throws -> IndexVersion {
    let found = try read {
      try IndexVersion.fetchOne($0, sql: "SELECT * FROM index_version WHERE id = ?", arguments: [id])
    }
    guard let found else { throw TarnError(.notFound, "there is no version number \(id)") }
    return found
  }

  /// Tables with rows that refer to rows which are not there.
  private func orphans() throws -> [String] {
    try read { database in
      Set(try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").map { $0["table"] as String }).sorted()
    }
  }

  // MARK: The schema

  /// Lists that come with the schema.
  private static let lists = [
    "place", "purpose", "trust", "modality", "dtype", "training_method", "codec", "router_method",
  ]

  /// The tables, triggers, views and lists of a catalog that was just made.
  private static let freshSchema = Result { () -> (objects: [String: String], lists: [String: [String]]) in
    let queue = try DatabaseQueue()
    return try queue.inDatabase { database in
      try database.execute(sql: "PRAGMA foreign_keys = OFF")
      try makeSchema(in: database)
      return (try objects(database), try contents(database))
    }
  }

  private static func objects(_ database: Database) throws -> [String: String] {
    try Row.fetchAll(
      database, sql: "SELECT type || ' ' || name AS object, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    ).reduce(into: [:]) { found, row in
      found[row["object"]] = comparable(row["sql"])
    }
  }

  /// A statement as it is held against another: its words with a space between them, without quotes, as versions of
  /// SQLite quote what they rename in their own ways.
  ///
  /// By its bytes, as SQLite separates words by ASCII alone: 140 KB, twice for each `doctor` and `verify`.
  private static func comparable(_ sql: String) -> String {
    let space = UInt8(ascii: " ")
    var kept: [UInt8] = []
    kept.reserveCapacity(sql.utf8.count)
    for byte in sql.utf8 where byte != UInt8(ascii: "\"") {
      // Tab to carriage return, and the space.
      let isSpace = byte == space || (9...13).contains(byte)
      if !isSpace { kept.append(byte) } else if let last = kept.last, last != space { kept.append(space) }
    }
    if kept.last == space { kept.removeLast() }
    return String(decoding: kept, as: UTF8.self)
  }

  private static func contents(_ database: Database) throws -> [String: [String]] {
    try lists.reduce(into: [:]) { found, table in
      found[table] = try Row.fetchAll(database, sql: "SELECT * FROM \(table) ORDER BY name").map { row in
        row.databaseValues.map { "\($0)" }.joined(separator: " ")
      }
    }
  }

  /// The guards and lists of the schema: without them nothing that they guard is
  /// known to have stayed what it was.
  private func checkSchema(_ verdict: inout StatementVerdict) throws {
    verdict.check("the schema against this tarn's")
    let expected = try LakeCatalog.wrapped { try LakeCatalog.freshSchema.get() }
    let (objects, lists) = try read { (try LakeCatalog.objects($0), try LakeCatalog.contents($0)) }
    for (name, sql) in expected.objects.sorted(by: { $0.key < $1.key }) where objects[name] != sql {
      verdict.differ(name, expected: "as this tarn makes it", found: objects[name] == nil ? "missing" : "another")
    }
    for name in objects.keys.sorted() where name.hasPrefix("trigger ") && expected.objects[name] == nil {
      verdict.differ(name, expected: "nothing", found: "a trigger that no tarn made")
    }
    for (table, rows) in expected.lists.sorted(by: { $0.key < $1.key }) where lists[table] != rows {
      verdict.differ("rows of \(table)", expected: "those of the schema", found: "others")
    }
  }
}
