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
/// shards; nil until somebody asks.
///
/// Shared by all threads of a writer, of which there is one.
final class PartLedger: Sendable {
  let byteCounts = Mutex<[Int64: Int]?>(nil)
}

extension LakeCatalog {
  /// The part files of a source's shards, or of all.
  ///
  /// - Parameter source: The source; nil for every one.
  /// - Returns: What is there, by source and name. Transfers that are under way in
  ///   another process are among them.
  /// - Throws: ``TarnError``.
  package func interruptedTransfers(of source: Source? = nil) throws -> [InterruptedTransfer] {
    try (source.map { [$0] } ?? sources()).flatMap { source in
      let directory = "\(layout.shards)/\(source.name)"
      // A source of which nothing was ever fetched has no directory.
      let names = (try? Disk.names(in: directory)) ?? []
      var files: [String: [String]] = [:]
      for name in names.compactMap({ String(validating: $0, as: UTF8.self) }) {
        guard let shard = LakeLayout.shard(ofPart: name) else { continue }
        files[shard, default: []].append(name)
      }
      guard !files.isEmpty else { return [InterruptedTransfer]() }
      let known = try read { database in
        try files.keys.sorted().compactMap { name in
          try Int64.fetchOne(
            database, sql: "SELECT id FROM shard WHERE source_id = ? AND name = ?", arguments: [source.id, name]
          ).map { (name, $0) }
        }
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
  }

  private static func byteCount(of files: [String]) -> Int {
    files.filter { !$0.hasSuffix(".part.resume") && !$0.hasSuffix(".part.resume.tmp") }.reduce(0) {
      $0 + Disk.occupiedByteCount(of: $1)
    }
  }

  /// Removes what an interrupted transfer left; the next one begins anew.
  ///
  /// - Parameter transfer: One that nobody continues: we hold the writer's lock.
  /// - Throws: ``TarnError``.
  package func discard(_ transfer: InterruptedTransfer) throws {
    precondition(isWriter, "a part file may be in use by the writer")
    for path in transfer.files { try Disk.remove(path) }
    parts.byteCounts.withLock { $0?[transfer.shardID] = nil }
  }

  /// Bytes of part files that no reservation counts.
  ///
  /// - Parameter shardID: A shard whose part file a reservation is about to count.
  /// - Returns: Bytes of the part files of other shards.
  /// - Throws: ``TarnError``.
  func parkedByteCount(besides shardID: Int64) throws -> Int {
    if parts.byteCounts.withLock({ $0 == nil }) {
      let reserved = try Set(
        read { try Int64.fetchAll($0, sql: "SELECT id FROM shard WHERE reserved_byte_count IS NOT NULL") })
      var found: [Int64: Int] = [:]
      for transfer in try interruptedTransfers() where !reserved.contains(transfer.shardID) {
        // What was reserved for bytes that did not come is not kept from others.
        for path in transfer.files { Disk.giveBackRoom(of: path) }
        found[transfer.shardID] = LakeCatalog.byteCount(of: transfer.files)
      }
      parts.byteCounts.withLock { $0 = found }
    }
    return parts.byteCounts.withLock { known in
      (known ?? [:]).reduce(0) { $0 + ($1.key == shardID ? 0 : $1.value) }
    }
  }

  /// Takes note that a reservation counts a shard's part file from now on.
  func coverPart(of shardID: Int64) { parts.byteCounts.withLock { $0?[shardID] = nil } }

  /// Takes note of what is left of a transfer whose reservation has ended.
  func uncoverPart(of shardID: Int64) throws {
    guard parts.byteCounts.withLock({ $0 != nil }) else { return }
    let shard = try shard(id: shardID)
    let path = layout.partPath(source: shard.sourceName, shard: shard.name)
    let byteCount = LakeCatalog.byteCount(of: [path])
    parts.byteCounts.withLock { $0?[shardID] = byteCount == 0 ? nil : byteCount }
  }
}
