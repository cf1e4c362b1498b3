// The history: what happened to the lake, in an order and with a content that
// cannot be changed afterwards without showing. The table's triggers keep it
// append-only; the chain of hashes shows what got around them.

package import Base
internal import Foundation
internal import Glibc
internal import GRDB

/// What can happen to a lake.
package enum EventVerb: String, Sendable, CaseIterable {
  case sourceAdd = "source-add"
  /// A source got, lost or reordered mirrors.
  case sourceMirrors = "source-mirrors"
  case sourceRename = "source-rename"
  /// What the rows of a source are was corrected.
  case sourceSet = "source-set"
  /// Shards came to a source's end, were dropped, or were taken back.
  case sourceShards = "source-shards"
  case sourceRemove = "source-remove"
  /// Rows of a source must not be found in what is built from now on.
  case excluded
  /// Rows that were excluded may be found again.
  case readmitted
  /// Bytes of a shard were verified and recorded.
  case fetched
  /// Bytes of a shard were seen by a worker elsewhere, and are not in the lake.
  case seen
  /// The bytes of a shard were given up.
  case evicted
  case trained
  /// A trained index that nothing used went.
  case trainedRemove = "trained-remove"
  /// A trained index is called something else; ready, it is `trained` under that name.
  case trainedRename = "trained-rename"
  case planned
  /// Tasks of a build or a training were laid in a place, for workers.
  case tasks
  /// An unfinished training or build was given up.
  case abandoned
  case output
  case sealed
  case revoked
  /// A version was published in a place.
  case pushed
  /// A version was written as a folder for another server.
  case exported
  case pin
  case unpin
  /// The bytes of an artifact were given up.
  case gc
  /// A damaged or missing file was dealt with.
  case repaired
  case reproduction
  /// Recall of a version was measured.
  case evaluated
  /// The catalog was made again from the files of the lake.
  case rebuilt
  /// The lake is in another directory than before.
  case moved
  /// A copy of a lake got an identity of its own.
  case copied
  /// A catalog from before there was a history was brought to a schema with one.
  case migrated
}

extension Event {
  /// What the hash must be: the SHA-256 of the other columns, each followed by
  /// a line feed.
  ///
  /// So that anybody can compute it again:
  /// `sqlite3 -noheader -newline '' … | sha256sum`.
  package static func hash(
    number: Int, at: String, actor: String, verb: String, subject: String, detail: String, previous: String
  ) -> ContentDigest {
    .of([String(number), at, actor, verb, subject, detail, previous].map { $0 + "\n" }.joined())
  }

  fileprivate var expectedHash: ContentDigest {
    Event.hash(
      number: number, at: at, actor: actor, verb: verb, subject: subject, detail: detail, previous: previous)
  }
}

extension LakeCatalog {
  /// Who acts: the user and the host, as the history names them.
  private static let actor = "\(NSUserName())@\(HostName.current)".printable

  private static let chainStart = String(repeating: "0", count: 64)

  /// Adds an event, inside the transaction of what it tells of.
  ///
  /// - Parameters:
  ///   - verb: What happened.
  ///   - subject: To what.
  ///   - detail: More of it.
  ///   - database: The connection, in a transaction.
  /// - Throws: SQLite's error.
  static func record(
    _ verb: EventVerb, _ subject: String, _ detail: [String: JSONValue] = [:], _ database: Database
  ) throws {
    let last = try database.cachedStatement(sql: "SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1")
    let row = try Row.fetchOne(last)
    let number = (row?["seq"] as Int? ?? 0) + 1
    let previous = row?["hash"] as String? ?? chainStart
    let at = Timestamp.now()
    let text = JSONValue.object(detail).text
    let hash = Event.hash(
      number: number, at: at, actor: actor, verb: verb.rawValue, subject: subject, detail: text, previous: previous)
    let event = Event(
      number: number, at: at, actor: actor, verb: verb.rawValue, subject: subject, detail: text, previous: previous,
      hash: hash.hex)
    try event.insert(database)
  }

  /// The history, oldest first.
  package func events() throws -> [Event] {
    try read { try Event.fetchAll($0, sql: "SELECT * FROM event ORDER BY seq") }
  }

  /// The first event that is not what the chain says, by its number.
  ///
  /// - Returns: Nil when the history is whole. Events taken off its end leave
  ///   no trace in it: keep the newest hash elsewhere to notice that.
  /// - Throws: ``TarnError``.
  package func firstBrokenEvent() throws -> Int? {
    try read { database in
      var number = 0
      var previous = LakeCatalog.chainStart
      let events = try Event.fetchCursor(database, sql: "SELECT * FROM event ORDER BY seq")
      while let event = try events.next() {
        number += 1
        guard event.number == number, event.previous == previous, event.expectedHash.hex == event.hash else {
          return number
        }
        previous = event.hash
      }
      return nil
    }
  }

  // MARK: Pins and revocation

  /// Keeps a version's outputs whatever becomes of it.
  ///
  /// - Parameters:
  ///   - name: A version that is sealed or revoked, its outputs in the lake.
  ///   - reason: Why, for people.
  ///   - unwritten: Told why the file that says so to a catalog which is made again could not be written.
  /// - Returns: False when it was pinned already.
  /// - Throws: ``TarnError`` `.conflict`, `.notFound`, `.inputsMissing`.
  package func pin(
    _ name: VersionName, reason: String, unwritten: (TarnError) -> Void = { _ in }
  ) throws -> Bool {
    let version = try version(name)
    guard version.state == .sealed || version.state == .revoked else {
      throw TarnError(
        .conflict, "\(name) is \(version.state.rawValue), not sealed", hint: version.state.wayToSealed)
    }
    let isNew = try write("pin") { database in
      guard try !LakeCatalog.isPinned(version, database) else { return false }
      let gone = try Int.fetchOne(
        database,
        sql: """
          SELECT count(*) FROM output_shard o
          JOIN stored_bytes b ON b.sha256 = o.sha256 AND b.place = 'artifacts' AND b.state <> 'present'
          WHERE o.version_id = ?
          """, arguments: [version.id])
      guard gone == 0 else {
        throw TarnError(
          .inputsMissing, "\(gone ?? 0) outputs of \(name) are gone from the lake", hint: "build it again")
      }
      try PinRow.insert(of: version.id, reason: reason, database)
      try LakeCatalog.record(.pin, "\(name)", ["reason": .string(reason)], database)
      return true
    }
    // Those of a revoked one may have been collected while something else kept the outputs.
    if version.state == .revoked { try restoreNames(of: version) }
    try writeMarks(of: version).forEach(unwritten)
    return isNew
  }

  /// Takes a pin back.
  ///
  /// - Parameter name: The version.
  /// - Returns: False when it was not pinned.
  /// - Throws: ``TarnError`` `.notFound`.
  package func unpin(_ name: VersionName) throws -> Bool {
    let version = try version(name)
    let wasPinned = try write("unpin") { database in
      guard try LakeCatalog.isPinned(version, database) else { return false }
      try database.execute(
        sql: "UPDATE pin SET removed_at = ? WHERE version_id = ? AND removed_at IS NULL",
        arguments: [Timestamp.now(), version.id])
      try LakeCatalog.record(.unpin, "\(name)", [:], database)
      return true
    }
    // Of one that is not pinned, too: a catalog that was put back does not know of it.
    try Disk.remove(layout.markPath(.pinned, name))
    return wasPinned
  }

  /// Declares that a sealed version must not be used any more.
  ///
  /// Its row, inputs and digests stay; its outputs may be collected unless a
  /// pin or another version keeps them.
  ///
  /// - Parameters:
  ///   - name: A sealed version.
  ///   - reason: Why, for people.
  ///   - unwritten: Told why the file that says so to a catalog which is made again could not be written.
  /// - Returns: False when it was revoked already.
  /// - Throws: ``TarnError`` `.conflict` for an unfinished version.
  package func revoke(
    _ name: VersionName, reason: String, unwritten: (TarnError) -> Void = { _ in }
  ) throws -> Bool {
    let version = try version(name)
    let now = Timestamp.now()
    let path = layout.markPath(.revoked, name)
    let wasThere = Disk.size(of: path) != nil
    // Before the row: a catalog that is lost after it was told must not bring the version back.
    if version.state == .sealed,
      let error = try VersionMark(.revoked, at: now, reason: reason).write(of: name, in: layout)
    {
      unwritten(error)
    }
    do {
      return try recordRevocation(of: version, reason: reason, at: now)
    } catch {
      // What is not revoked must not be taken for it.
      if version.state == .sealed, !wasThere { try? Disk.remove(path) }
      throw error
    }
  }

  private func recordRevocation(of version: IndexVersion, reason: String, at now: String) throws -> Bool {
    let name = version.name
    return try write("revoke") { database in
      // Another command may have been faster.
      let state = try VersionState(
        rawValue: String.fetchOne(
          database, sql: "SELECT state FROM index_version WHERE id = ?", arguments: [version.id]) ?? "")
      guard let state, state != .revoked else { return false }
      guard state.canBecome(.revoked) else {
        throw TarnError(
          .conflict, "\(name) is \(state.rawValue), not sealed",
          hint: state == .abandoned
            ? "there is nothing left to withdraw" : "`tarn abandon \(name)` gives up one that is not finished")
      }
      try database.execute(
        sql: "UPDATE index_version SET state = 'revoked', ended_at = ? WHERE id = ?", arguments: [now, version.id])
      try LakeCatalog.record(.revoked, "\(name)", ["reason": .string(reason)], database)
      return true
    }
  }

  /// Whether a pin keeps a version's outputs.
  package func isPinned(_ version: IndexVersion) throws -> Bool {
    try read { try LakeCatalog.isPinned(version, $0) }
  }

  private static func isPinned(_ version: IndexVersion, _ database: Database) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM pin WHERE version_id = ? AND removed_at IS NULL)",
      arguments: [version.id]) ?? false
  }
}
