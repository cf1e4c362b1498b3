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
  /// What is lost with them, the least first.
  package enum Loss: Int, Comparable, Sendable {
    /// Nothing: they can be had again, or nothing rests on them.
    case nothing
    /// Older revisions on which something rests; their mirrors may not have them any more.
    case older
    /// Newest revisions on which something rests and that no place is known to give again.
    case lastCopies

    package static func < (one: Loss, other: Loss) -> Bool { one.rawValue < other.rawValue }

    /// What `evict` must be told for it to take them.
    fileprivate var option: String {
      switch self {
      case .nothing: ""
      case .older: " --old"
      case .lastCopies: " --last-copies"
      }
    }
  }

  /// An eviction.
  package struct Way: Hashable, Sendable {
    /// All of them have to be evicted.
    package let sources: [String]
    package let loss: Loss

    fileprivate var names: String { sources.joined(separator: " and ") }
  }

  package let way: Way
  package let byteCount: Int
  /// What rests on them, where they are older revisions.
  package let dependents: [String]

  /// What gives them back.
  package var command: String {
    way.sources.map { "`tarn evict \($0)\(way.loss.option)`" }.joined(separator: " and ")
  }

  /// Who holds them, as `images holds 3 kB`.
  fileprivate var text: String {
    let names = way.names
    let bytes = ByteSize.text(byteCount)
    if way.loss == .older { return "older revisions of \(names) hold \(bytes)" }
    let held = way.sources.count == 1 ? "\(names) holds \(bytes)" : "\(names) share \(bytes)"
    return way.loss == .nothing ? held : "\(held) that no mirror is known to have"
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

  /// Records a file that is in place already; where its rows are not written, for lack of
  /// room or because they may not be, the file goes again, as no row knows it and nothing
  /// would ever take it.
  ///
  /// SQLite says that a disk is full when it could not write, and then no commit is in
  /// its log that a later reader could find. Of a broken disk nobody knows that: the file stays.
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
    } catch {
      let code = (error as? TarnError)?.code
      guard code != .io else { throw error }
      let relative = String(path.dropFirst(layout.directory(of: place).count + 1))
      func removeIfUnknown(_ database: Database) throws {
        guard try !LakeCatalog.storedPaths(in: place, database).contains(relative) else { return }
        try Disk.remove(path)
      }
      // In a transaction nobody records it meanwhile; a full disk may have no room for one.
      if code == .diskFull { try? read(removeIfUnknown) } else { try? write("orphan", removeIfUnknown) }
      throw error
    }
  }

  /// What evictions give back: what costs nothing first, the most of that first.
  ///
  /// Bytes that shards of several sources share go when the last of them is evicted,
  /// so each file counts once, for all whose shards have it.
  ///
  /// - Returns: What goes with a source, with several, with older revisions, and with last
  ///   copies.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func holders() throws -> [HeldBytes] {
    var held: [HeldBytes.Way: Int] = [:]
    var dependents: [HeldBytes.Way: [String]] = [:]
    try read { database in
      let rows = try Row.fetchAll(
        database,
        sql: """
          \(LakeCatalog.withNamesOfSources)
          SELECT sources, is_last, sum(byte_count) AS bytes FROM (
            SELECT b.byte_count, (SELECT group_concat(name, ' ') FROM (
                SELECT DISTINCT s.name FROM shard_revision r
                JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.state = 'present'
                JOIN source s ON s.id = h.source_id WHERE r.sha256 = b.sha256 ORDER BY s.name)) AS sources,
              (EXISTS (SELECT 1 FROM shard_revision r
                JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision
                WHERE r.sha256 = b.sha256 AND \(LakeCatalog.isRestedOn))
              AND NOT EXISTS (SELECT 1 FROM shard_revision r
                JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision
                WHERE r.sha256 = b.sha256 AND NOT (\(LakeCatalog.hasNoPlace)))) AS is_last
            FROM stored_bytes b WHERE b.place = 'shards' AND b.state = 'present' AND b.deleting_at IS NULL)
          WHERE sources IS NOT NULL GROUP BY sources, is_last
          """)
      for row in rows {
        let names = (row["sources"] as String).split(separator: " ").map(String.init)
        held[HeldBytes.Way(sources: names, loss: row["is_last"] ? .lastCopies : .nothing)] = row["bytes"]
      }
    }
    for kept in try keptRevisions() {
      let way = HeldBytes.Way(sources: [kept.sourceName], loss: kept.dependents.isEmpty ? .nothing : .older)
      held[way, default: 0] += kept.byteCount
      let known = dependents[way] ?? []
      dependents[way] = known + kept.dependents.filter { !known.contains($0) }
    }
    for part in (try? interruptedTransfers()) ?? [] {
      held[.init(sources: [part.source], loss: .nothing), default: 0] += part.byteCount
    }
    return held.filter { $0.value > 0 }.map { way, byteCount in
      HeldBytes(way: way, byteCount: byteCount, dependents: dependents[way] ?? [])
    }.sorted { ($0.way.loss, $1.byteCount, $0.command) < ($1.way.loss, $0.byteCount, $1.command) }
  }

  /// Says that a budget has no room for a shard: who holds it, and what to do.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - byteCount: Bytes that it takes.
  ///   - budget: The budget.
  ///   - needed: Sources that the command works with: what it evicts it would fetch again.
  ///   - choosesShards: Whether the command takes fewer shards with `--shards`.
  ///   - isSync: Whether it is a sync, which each of its sources can have for itself.
  /// - Returns: The error.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func noRoom(
    for shard: Shard, _ byteCount: Int, in budget: Int, needing needed: Set<String>, choosesShards: Bool,
    isSync: Bool = false
  ) throws -> TarnError {
    let held = try holders()
    let message =
      "the budget of \(ByteSize.text(budget)) has no room for \(shard.name) of \(shard.sourceName) "
      + "(\(ByteSize.text(byteCount)))"
    guard byteCount <= budget, !held.isEmpty else {
      return TarnError(
        .diskFull, message, hint: "raise --budget" + (choosesShards ? ", or leave the shard out with --shards" : ""))
    }
    var ways: [String] = []
    // What others hold that would still be too little is no way.
    let wanted = held.reduce(0) { $0 + $1.byteCount } + byteCount - budget
    let other = held.first { held in
      held.way.loss == .nothing && held.byteCount >= wanted && needed.isDisjoint(with: held.way.sources)
    }
    if let other {
      ways += ["evict what is not needed of \(other.way.names) (\(other.command))", "raise --budget"]
    } else {
      let other = held.first { held in
        held.way.loss == .nothing && held.byteCount >= wanted && !held.way.sources.contains(shard.sourceName)
      }
      if isSync, let other { ways.append("\(other.command) and `tarn sync \(shard.sourceName)` alone") }
      ways.append("raise --budget")
      if choosesShards { ways.append("take fewer shards with --shards") }
    }
    if let last = held.first(where: { $0.way.loss == .lastCopies })?.way.sources.first {
      ways.append("`tarn source probe \(last)` to see whether a mirror has what stays as a last copy")
    }
    // A version that is reproduced or measured may rest on the older revisions.
    let old = held.first { held in
      held.way.loss == .older && (choosesShards || needed.isDisjoint(with: held.way.sources))
    }
    // Last, as nobody may have them any more.
    if let old { ways.append("\(old.command), though \(LakeCatalog.list(old.dependents)) on those") }
    let most = held.sorted { ($1.byteCount, $0.command) < ($0.byteCount, $1.command) }
    return TarnError(
      .diskFull, "\(message): \(most.prefix(3).map(\.text).joined(separator: ", "))",
      hint: ways.dropLast().joined(separator: ", ") + (ways.count > 1 ? ", or " : "") + (ways.last ?? ""))
  }

  /// Refuses a budget that one of the shards that would be fetched is larger than, where its size is known.
  ///
  /// - Parameters:
  ///   - budget: The most bytes of shards in the lake.
  ///   - shards: What would be fetched, of what the user chose.
  /// - Throws: ``TarnError`` `.diskFull`.
  package func requireBudget(_ budget: Int, for shards: [Shard]) throws {
    for shard in shards {
      guard let byteCount = shard.likelyByteCount, byteCount > budget else { continue }
      throw try noRoom(for: shard, byteCount, in: budget, needing: [], choosesShards: true)
    }
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
    var older: String?
    if isThere(layout.shards) {
      let held = try holders().filter { needed.isDisjoint(with: $0.way.sources) }
      advice += held.lazy.filter { $0.way.loss == .nothing }.prefix(3)
        .map { "\($0.command) (\(ByteSize.text($0.byteCount)))" }
      older = held.first { $0.way.loss == .older }.map {
        "\($0.command) (\(ByteSize.text($0.byteCount)), though \(LakeCatalog.list($0.dependents)) on those)"
      }
    }
    if isThere(layout.artifacts) {
      let now = try garbageByteCount(GarbageOptions())
      let all = try garbageByteCount(GarbageOptions(grace: .zero, includesSegments: true))
      if now > 0 { advice.append("`tarn gc --apply` (\(ByteSize.text(now)))") }
      if all > now { advice.append("`tarn gc --segments --grace 0s --apply` (\(ByteSize.text(all)))") }
    }
    // Last, as nobody may have them any more.
    if let older { advice.append(older) }
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
