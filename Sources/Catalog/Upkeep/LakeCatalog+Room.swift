// Room as the lake sees it: what stays free on the file systems that it writes to,
// whether something fits, and what can go where it does not.

package import Base
internal import Foundation
internal import GRDB

/// Something that is about to be written.
package struct RoomNeed: Sendable {
  /// A path where it goes; it need not exist.
  package let path: String
  package let byteCount: Int

  package init(at path: String, byteCount: Int) {
    self.path = path
    self.byteCount = byteCount
  }
}

/// Bytes below the shards directory, by what gives them back.
package struct HeldBytes: Sendable {
  /// An eviction.
  package struct Way: Hashable, Sendable {
    /// All of them have to be evicted.
    package let sources: [String]
    /// Whether it takes older revisions on which something rests.
    package let isOld: Bool
  }

  package let way: Way
  package let byteCount: Int

  /// What gives them back.
  package var command: String {
    way.sources.map { "`tarn evict \($0)\(way.isOld ? " --old" : "")`" }.joined(separator: " and ")
  }

  /// Who holds them, as `images holds 3 kB`.
  fileprivate var text: String {
    let names = way.sources.joined(separator: " and ")
    let bytes = ByteSize.text(byteCount)
    if way.isOld { return "older revisions of \(names) hold \(bytes)" }
    return way.sources.count == 1 ? "\(names) holds \(bytes)" : "\(names) share \(bytes)"
  }
}

extension LakeCatalog {
  /// The sources that this process works with.
  package var sourcesInWork: Set<String> {
    guard case .leases(let leases)? = session?.holding else { return [] }
    return Set(leases.lazy.filter { $0.kind == .source }.map(\.name))
  }

  /// What stays free (D11).
  ///
  /// The catalog needs to commit: a log of ``checkpointPageCount`` pages and the pages
  /// that it brings, less than 2 MiB, and what one transaction over all shards
  /// writes, less than half of what the catalog holds.
  ///
  /// - Parameter keptFree: What the user said; it raises the rule's figure alone.
  /// - Returns: The reserve.
  package func reserve(keeping keptFree: Int = 0) -> DiskReserve {
    DiskReserve(
      keptFree: max(keptFree, self.keptFree), catalogByteCount: (2 << 20) + (Disk.size(of: layout.catalog) ?? 0) / 2,
      catalogDevice: try? FileSystem(of: layout.root).device)
  }

  /// Refuses what does not fit, before it is written.
  ///
  /// - Parameters:
  ///   - what: What it is, for the message.
  ///   - needs: Bytes and places; those on one file system are added up.
  /// - Throws: ``TarnError`` `.diskFull`, naming the file system and what is
  ///   missing; `.io` when it cannot be asked.
  package func requireRoom(for what: String, _ needs: [RoomNeed]) throws {
    let reserve = reserve()
    let places = try needs.map { (try FileSystem(of: $0.path), $0.byteCount) }
    for (fileSystem, _) in places {
      let byteCount = places.lazy.filter { $0.0.device == fileSystem.device }.map(\.1).saturatedSum
      if case .refused(let error) = reserve.verdict(on: what, taking: byteCount, of: fileSystem) { throw error }
    }
  }

  /// Whether shards and results lie on one file system, so that the room of the ones is
  /// the room of the others.
  package var isOnOneFileSystem: Bool {
    guard let shards = try? FileSystem(of: layout.shards), let artifacts = try? FileSystem(of: layout.artifacts) else {
      return false
    }
    return shards.device == artifacts.device
  }

  /// Records a file that is in place already; where the disk has no room for the rows,
  /// the file goes again, as no row knows it and nothing would ever take it.
  ///
  /// SQLite says that a disk is full when it could not write, and then no commit is in
  /// its log that a later reader could find.
  ///
  /// - Parameters:
  ///   - path: The file, absolute.
  ///   - place: Where it is.
  ///   - record: Writes the rows.
  /// - Returns: What `record` returns.
  /// - Throws: What `record` throws.
  package func keepingNoOrphan<Value>(_ path: String, in place: Place, _ record: () throws -> Value) throws -> Value {
    do {
      return try record()
    } catch let error as TarnError where error.code == .diskFull {
      let relative = String(path.dropFirst(layout.directory(of: place).count + 1))
      if let isKnown = try? read({ try LakeCatalog.storedPaths(in: place, $0).contains(relative) }), !isKnown {
        try? Disk.remove(path)
      }
      throw error
    }
  }

  /// What evictions give back, the most first.
  ///
  /// Bytes that shards of several sources share go when the last of them is evicted,
  /// so each file counts once, for all whose shards have it.
  ///
  /// - Returns: What goes with a source, with several, and with older revisions.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func holders() throws -> [HeldBytes] {
    var held: [HeldBytes.Way: Int] = [:]
    try read { database in
      let rows = try Row.fetchAll(
        database,
        sql: """
          SELECT sources, sum(byte_count) AS bytes FROM (
            SELECT b.byte_count, (SELECT group_concat(name, ' ') FROM (
                SELECT DISTINCT s.name FROM shard_revision r
                JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.state = 'present'
                JOIN source s ON s.id = h.source_id WHERE r.sha256 = b.sha256 ORDER BY s.name)) AS sources
            FROM stored_bytes b WHERE b.place = 'shards' AND b.state = 'present' AND b.deleting_at IS NULL)
          WHERE sources IS NOT NULL GROUP BY sources
          """)
      for row in rows {
        let names = (row["sources"] as String).split(separator: " ").map(String.init)
        held[HeldBytes.Way(sources: names, isOld: false)] = row["bytes"]
      }
    }
    for kept in try keptRevisions() {
      held[.init(sources: [kept.sourceName], isOld: !kept.dependents.isEmpty), default: 0] += kept.byteCount
    }
    for part in (try? interruptedTransfers()) ?? [] {
      held[.init(sources: [part.source], isOld: false), default: 0] += part.byteCount
    }
    return held.filter { $0.value > 0 }.map { HeldBytes(way: $0.key, byteCount: $0.value) }
      .sorted { ($1.byteCount, $0.command) < ($0.byteCount, $1.command) }
  }

  /// Says that a budget has no room for a shard: who holds it, and what to do.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - byteCount: Bytes that it takes.
  ///   - budget: The budget.
  ///   - needed: Sources that the command works with: what it evicts it would fetch again.
  ///   - choosesShards: Whether the command takes fewer shards with `--shards`.
  /// - Returns: The error.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func noRoom(
    for shard: Shard, _ byteCount: Int, in budget: Int, needing needed: Set<String>, choosesShards: Bool
  ) throws -> TarnError {
    let held = try holders()
    let message =
      "the budget of \(ByteSize.text(budget)) has no room for \(shard.name) of \(shard.sourceName) "
      + "(\(ByteSize.text(byteCount)))"
    guard byteCount <= budget, !held.isEmpty else {
      return TarnError(
        .diskFull, message, hint: "raise --budget" + (choosesShards ? ", or leave the shard out with --shards" : ""))
    }
    // A version that is reproduced or measured may rest on the older revisions.
    let other = held.first { held in
      held.way.isOld && choosesShards || needed.isDisjoint(with: held.way.sources)
    }
    let way = other.map { "\($0.command) what is not needed, or " } ?? ""
    return TarnError(
      .diskFull, "\(message): \(held.prefix(3).map(\.text).joined(separator: ", "))",
      hint: "\(way)raise --budget" + (other == nil && choosesShards ? ", or take fewer shards with --shards" : ""))
  }

  /// What can be given back on a file system, as advice; nil when nothing can.
  ///
  /// - Parameters:
  ///   - fileSystem: The one that is full.
  ///   - needed: Sources that the command works with: their shards stay.
  /// - Returns: Commands, with the bytes that they give back.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func whatCanGo(on fileSystem: FileSystem, needing needed: Set<String>) throws -> String? {
    func isThere(_ path: String) -> Bool { (try? FileSystem(of: path).device) == fileSystem.device }
    var advice: [String] = []
    if isThere(layout.shards) {
      advice += try holders().filter { needed.isDisjoint(with: $0.way.sources) }.prefix(3)
        .map { "\($0.command) (\(ByteSize.text($0.byteCount)))" }
    }
    if isThere(layout.artifacts) {
      let now = try garbageByteCount(GarbageOptions())
      let all = try garbageByteCount(GarbageOptions(grace: .zero, includesSegments: true))
      if now > 0 { advice.append("`tarn gc --apply` (\(ByteSize.text(now)))") }
      if all > now { advice.append("`tarn gc --segments --grace 0s --apply` (\(ByteSize.text(all)))") }
    }
    // A lake from before there was ballast: parts are what no row vouches for.
    if isThere(layout.root), fileSystem.freeByteCount < 1 << 16, Disk.size(of: CatalogBallast.path(layout)) == nil,
      let part = try? interruptedTransfers().first?.files.last
    {
      advice.insert("first `rm` a part of a transfer by hand, such as \(part)", at: 0)
    }
    return advice.isEmpty ? nil : advice.joined(separator: ", ")
  }
}

extension TarnError {
  /// A full disk, with what can go there.
  ///
  /// - Parameters:
  ///   - root: A lake's directory; nil when none is known.
  ///   - needed: Sources that the command works with.
  /// - Returns: The error with the file system, what is free, and what can be given
  ///   back; another error, and a full budget, as it is.
  package func explained(inLake root: String?, needing needed: Set<String>) -> TarnError {
    guard code == .diskFull, let place, let fileSystem = try? FileSystem(of: place) else { return self }
    let catalog = root.flatMap { try? LakeCatalog.open(root: $0, writing: nil, orOlder: true) }
    let isJudged = message.hasPrefix("the disk is full: ")
    var text = isJudged ? message : "the disk is full: \(message)"
    if !isJudged {
      let kept = (catalog?.reserve() ?? DiskReserve()).byteCount(on: fileSystem)
      text +=
        "; the file system at \(fileSystem.mountPoint) \(DiskReserve.shortage(free: fileSystem.freeByteCount, kept: kept))"
    }
    let canGo = catalog.flatMap { try? $0.whatCanGo(on: fileSystem, needing: needed) } ?? nil
    let hint = canGo.map { "what can go: \($0); then run it again" } ?? "free some space there, then run it again"
    return TarnError(code, text, hint: hint, place: place)
  }
}
