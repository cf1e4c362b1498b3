// Sources that read the files of another one: whose shards and mirrors those are, and
// what is to be said of them there and nowhere else (DESIGN, 6.1).

internal import Base
internal import GRDB

extension LakeCatalog {
  /// Bytes of an array's name at most.
  private static let mostArrayBytes = 255

  /// Checks the name of an array of a file.
  ///
  /// - Parameter array: The name.
  /// - Throws: ``TarnError`` `.usage`.
  package static func validate(array: String) throws {
    let isUsable =
      !array.isEmpty && array.utf8.count <= mostArrayBytes
      && array.unicodeScalars.allSatisfy { $0.value > 32 && !HiddenText.contains($0) }
    guard isUsable else {
      throw TarnError(
        .usage, "'\(array.printable)' cannot name an array",
        hint: "up to \(mostArrayBytes) bytes, without blanks and characters that are not seen")
    }
  }

  /// The source that has the files which another one is to read.
  ///
  /// - Parameters:
  ///   - name: That source, or one that reads its files.
  ///   - database: The connection.
  /// - Returns: The source that has them.
  /// - Throws: ``TarnError`` `.notFound`; `.usage` where it names no array.
  static func fileOwner(named name: String, _ database: Database) throws -> Source {
    let owner = try Source.fetchOne(
      database,
      sql: "SELECT o.* FROM source s JOIN source o ON o.id = coalesce(s.files_of, s.id) WHERE s.name = ?",
      arguments: [name])
    guard let owner else {
      throw TarnError(
        .notFound, "there is no source named '\(name.printable)'",
        hint: NearWords.question(name, among: try String.fetchAll(database, sql: "SELECT name FROM source"))
          ?? "`tarn source list` names them; register the one that has the files first")
    }
    guard owner.array != nil else {
      throw TarnError(
        .usage, "\(owner.name) says no array, so its files have one, and that is its own",
        hint: "register it with --array, and then the others with --files-of")
    }
    return owner
  }

  /// The source that has the files which a source is to read, by a name.
  package func fileOwner(named name: String) throws -> Source {
    try read { try LakeCatalog.fileOwner(named: name, $0) }
  }

  /// The source whose shards and mirrors the files of a source are: another one, or itself.
  package func fileSource(of source: Source) throws -> Source {
    try source.filesOf.map { try self.source(id: $0) } ?? source
  }

  /// The sources that have the files of some, each once, in order.
  ///
  /// - Parameter names: The sources; none for all there are.
  /// - Returns: Sources with files of their own.
  /// - Throws: ``TarnError`` `.notFound`.
  package func fileSources(_ names: [String]) throws -> [Source] {
    guard !names.isEmpty else { return try featureSources().filter { $0.filesOf == nil } }
    var seen: Set<Int64> = []
    return try featureSources(named: names).map { try fileSource(of: $0) }.filter { seen.insert($0.id).inserted }
  }

  /// The sources that read the files of a source, that one first.
  package func readers(of source: Source) throws -> [Source] {
    try read {
      try Source.fetchAll(
        $0, sql: "SELECT * FROM source WHERE coalesce(files_of, id) = ? ORDER BY files_of IS NOT NULL, name",
        arguments: [source.filesID])
    }
  }

  /// Refuses to change through a source what another one says of its files.
  ///
  /// - Parameter source: The source.
  /// - Throws: ``TarnError`` `.usage` naming the source that has the files.
  package func requireOwnFiles(_ source: Source) throws {
    guard source.filesOf != nil else { return }
    let owner = try fileSource(of: source)
    throw TarnError(
      .usage, "\(source.name) reads the files of \(owner.name): its shards and mirrors are changed there",
      hint: "run the command for \(owner.name); every source that reads its files follows")
  }

  /// Refuses that a source goes whose files others read.
  static func requireUnread(_ source: Source, _ database: Database) throws {
    let readers = try String.fetchAll(
      database, sql: "SELECT name FROM source WHERE files_of = ? ORDER BY name", arguments: [source.id])
    guard let first = readers.first else { return }
    throw TarnError(
      .conflict,
      "\(source.name) is kept: \(readers.joined(separator: ", ")) \(readers.count == 1 ? "reads" : "read") its files",
      hint: "`tarn source remove \(first)` first")
  }

  /// Leases with those on the sources that have the files: whose bytes are used there, are
  /// used here.
  func withFileOwners(_ leases: [Lease]) throws -> [Lease] {
    let owners = try read { database in
      try Row.fetchAll(
        database, sql: "SELECT s.name, o.name AS owner FROM source s JOIN source o ON o.id = s.files_of")
    }
    guard !owners.isEmpty else { return leases }
    let owner = Dictionary(owners.map { ($0["name"] as String, $0["owner"] as String) }) { first, _ in first }
    var result = leases
    for lease in leases where lease.kind == .source && lease.use != .alter {
      guard let name = owner[lease.name] else { continue }
      let own = Lease(.source, name, lease.use)
      if !result.contains(own) { result.append(own) }
    }
    return result
  }
}
