// Part files: what interrupted transfers left in `shards/`. They are bytes on the
// disk like others: they count against the budget, are listed, and can be given back.

internal import Base
internal import Foundation
internal import GRDB
internal import Synchronization

/// What a transfer that ended early left: the next one continues it.
package struct InterruptedTransfer: Sendable {
  package let shardID: Int64
  package let source: String
  package let shard: String
  /// The part file and what lies beside it, absolute, in the order in which they go:
  /// a resume point never vouches for bytes that are gone.
  package let files: [String]
  /// Bytes of the shard that they hold, and room reserved for more.
  ///
  /// A resume point is no part of it, as the catalog is not: with it, parts would not
  /// always fit where their whole shards did.
  package let byteCount: Int
  /// When it was last written to, in the catalog's form.
  package let changedAt: String
}

/// Bytes of part files to which no reservation belongs, by the numbers of their
/// shards; shared by all threads of a writer.
final class PartLedger: Sendable {
  /// Of the sources that this process fetches; nil until somebody asks.
  let byteCounts = Mutex<[Int64: Int]?>(nil)
  /// Of a source that it does not fetch, as it was when its directory had a time.
  struct Seen {
    let modifiedAt: Duration?
    let byteCounts: [Int64: Int]
  }
  let elsewhere = Mutex<[Int64: Seen]>([:])
}

extension LakeCatalog {
  /// The part files of a source's shards, or of all.
  ///
  /// - Parameter source: The source; nil for every one.
  /// - Returns: What is there, by source and name. Transfers that are under way in
  ///   another process are among them.
  /// - Throws: ``TarnError`` `.io` where a directory cannot be read, whose files count.
  package func interruptedTransfers(of source: Source? = nil) throws -> [InterruptedTransfer] {
    try read { database in
      let sources = try source.map { [$0] } ?? Source.fetchAll(database, sql: "SELECT * FROM source ORDER BY name")
      return try sources.flatMap { try transfers(of: $0, database) }
    }
  }

  private func transfers(of source: Source, _ database: Database) throws -> [InterruptedTransfer] {
    let directory = "\(layout.shards)/\(source.name)"
    // A source of which nothing was ever fetched has no directory.
    var files: [String: [String]] = [:]
    for name in try Disk.namesIfAny(in: directory) {
      guard let shard = LakeLayout.shard(ofPart: name) else { continue }
      files[shard, default: []].append(name)
    }
    let known = try files.keys.sorted().compactMap { name in
      try Int64.fetchOne(
        database, sql: "SELECT id FROM shard WHERE source_id = ? AND name = ?", arguments: [source.id, name]
      ).map { (name, $0) }
    }
    return known.map { name, id in
      // `.part.resume` and `.part.resume.tmp` before `.part`.
      let paths = (files[name] ?? []).sorted { $0.utf8.count > $1.utf8.count }.map { "\(directory)/\($0)" }
      let dates = paths.compactMap {
        (try? FileManager.default.attributesOfItem(atPath: $0))?[.modificationDate] as? Date
      }
      return InterruptedTransfer(
        shardID: id, source: source.name, shard: name, files: paths,
        byteCount: LakeCatalog.byteCount(of: paths),
        changedAt: Timestamp.text(dates.max() ?? Date()))
    }
  }

  private static func byteCount(of files: [String]) -> Int {
    files.filter { !$0.hasSuffix(".part.resume") && !$0.hasSuffix(".part.resume.tmp") }.reduce(0) {
      $0
        + ($1.hasSuffix(CommandStaging.ending)
          ? CommandStaging.allocatedByteCount(below: $1) : Disk.occupiedByteCount(of: $1))
    }
  }

  /// Removes what an interrupted transfer left; the next one begins anew.
  ///
  /// - Parameter transfer: One that nobody continues: we have its source, or the whole lake.
  /// - Throws: ``TarnError``.
  package func discard(_ transfer: InterruptedTransfer) throws {
    precondition(session != nil, "a part file may be in use by a writer")
    for path in transfer.files {
      try path.hasSuffix(CommandStaging.ending) ? CommandStaging.remove(path) : Disk.remove(path)
    }
    parts.byteCounts.withLock { $0?[transfer.shardID] = nil }
  }

  /// Bytes of part files that no reservation counts.
  ///
  /// - Parameters:
  ///   - shardID: A shard whose part file a reservation is about to count.
  ///   - session: This process.
  ///   - database: The connection, in a transaction.
  /// - Returns: Bytes of the part files of other shards.
  /// - Throws: ``TarnError``.
  func parkedByteCount(besides shardID: Int64, _ session: WriterSession, _ database: Database) throws -> Int {
    let sources = try Source.fetchAll(database, sql: "SELECT * FROM source ORDER BY name")
    let (own, others) = (
      sources.filter { session.mayFetch($0.name) }, sources.filter { !session.mayFetch($0.name) }
    )
    if parts.byteCounts.withLock({ $0 == nil }) {
      let found = try own.reduce(into: [:]) { try $0.merge(unreserved(of: $1, givingBack: true, database)) { $1 } }
      parts.byteCounts.withLock { $0 = found }
    }
    // Parts of others are what their directory says: of one that is being fetched
    // now, and where the directory has changed.
    let busy = others.isEmpty ? [] : session.held(.source, against: .add)
    let elsewhere = try others.reduce(0) { sum, source in
      let isBusy = busy.contains(source.name)
      let modifiedAt = isBusy ? nil : Disk.modifiedAt("\(layout.shards)/\(source.name)")
      let seen = parts.elsewhere.withLock { $0[source.id] }
      if let seen, modifiedAt != nil, seen.modifiedAt == modifiedAt {
        return sum + seen.byteCounts.values.reduce(0, +)
      }
      let found = try unreserved(of: source, givingBack: !isBusy, database)
      parts.elsewhere.withLock { $0[source.id] = PartLedger.Seen(modifiedAt: modifiedAt, byteCounts: found) }
      return sum + found.values.reduce(0, +)
    }
    return parts.byteCounts.withLock { known in
      (known ?? [:]).reduce(elsewhere) { $0 + ($1.key == shardID ? 0 : $1.value) }
    }
  }

  /// Bytes of the part files of a source that no reservation counts, by shard.
  private func unreserved(of source: Source, givingBack: Bool, _ database: Database) throws -> [Int64: Int] {
    var found: [Int64: Int] = [:]
    for transfer in try transfers(of: source, database) {
      let isReserved = try Bool.fetchOne(
        database, sql: "SELECT reserved_byte_count IS NOT NULL FROM shard WHERE id = ?", arguments: [transfer.shardID])
      guard isReserved == false else { continue }
      // What was reserved for bytes that did not come is not kept from others.
      if givingBack { for path in transfer.files { Disk.giveBackRoom(of: path) } }
      found[transfer.shardID] = LakeCatalog.byteCount(of: transfer.files)
    }
    return found
  }

  /// Bytes that transfers of other processes have reserved and that did not come yet.
  ///
  /// - Parameter own: Shards whose room the caller counts itself.
  /// - Returns: The bytes.
  /// - Throws: ``TarnError``.
  package func outstandingByteCount(besides own: Set<Int64>) throws -> Int {
    let rows = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT h.id, s.name AS source, h.name AS shard, h.reserved_byte_count AS bytes
          FROM shard h JOIN source s ON s.id = h.source_id
          WHERE h.id IN (SELECT id FROM shard WHERE reserved_byte_count IS NOT NULL)
          """)
    }
    return rows.lazy.filter { !own.contains($0["id"]) }.map { row in
      let part = self.layout.partPath(source: row["source"], shard: row["shard"])
      return max(0, row["bytes"] as Int - LakeCatalog.allocatedByteCount(ofPart: part))
    }.saturatedSum
  }

  /// Bytes on the disk of a shard that is under way: of its part file, or of what a
  /// command wrote so far.
  package static func allocatedByteCount(ofPart path: String) -> Int {
    Disk.allocatedByteCount(of: path).addingSaturated(
      CommandStaging.allocatedByteCount(below: CommandStaging.directory(ofPart: path)))
  }

  /// Takes note that a reservation counts a shard's part file from now on.
  func coverPart(of shardID: Int64) { parts.byteCounts.withLock { $0?[shardID] = nil } }

  /// Takes note of what is left of a transfer whose reservation has ended.
  func uncoverPart(of shardID: Int64) throws {
    guard parts.byteCounts.withLock({ $0 != nil }) else { return }
    let shard = try shard(id: shardID)
    let path = layout.partPath(source: shard.sourceName, shard: shard.name)
    let byteCount = LakeCatalog.byteCount(of: [path, CommandStaging.directory(ofPart: path)])
    parts.byteCounts.withLock { $0?[shardID] = byteCount == 0 ? nil : byteCount }
  }
}
