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

extension LakeCatalog {
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

  /// The sources whose shards and parts are held, those with most first.
  package func holders() throws -> [(source: String, byteCount: Int)] {
    let present = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT s.name, sum(t.byte_count) AS bytes FROM shard_total t JOIN source s ON s.id = t.source_id
          WHERE t.state = 'present' GROUP BY s.id
          """
      ).map { (source: $0["name"] as String, byteCount: $0["bytes"] as Int? ?? 0) }
    }
    var held = Dictionary(present.map { ($0.source, $0.byteCount) }, uniquingKeysWith: +)
    for part in try interruptedTransfers() { held[part.source, default: 0] += part.byteCount }
    return held.filter { $0.value > 0 }.map { (source: $0.key, byteCount: $0.value) }
      .sorted { ($1.byteCount, $0.source) < ($0.byteCount, $1.source) }
  }

  /// Says that a budget has no room for a shard: who holds it, and what to do.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - byteCount: Bytes that it takes.
  ///   - budget: The budget.
  /// - Returns: The error.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func noRoom(for shard: Shard, _ byteCount: Int, in budget: Int) throws -> TarnError {
    let held = try holders()
    let message =
      "the budget of \(ByteSize.text(budget)) has no room for \(shard.name) of \(shard.sourceName) "
      + "(\(ByteSize.text(byteCount)))"
    guard byteCount <= budget, let first = held.first else {
      return TarnError(
        .diskFull, message, hint: "raise --budget, or leave the shard out with --shards")
    }
    let names = held.prefix(3).map { "\($0.source) holds \(ByteSize.text($0.byteCount))" }
    let other = held.first { $0.source != shard.sourceName } ?? first
    return TarnError(
      .diskFull, "\(message): \(names.joined(separator: ", "))",
      hint: "`tarn evict \(other.source)` what is not needed, or raise --budget")
  }

  /// What can be given back on a file system, as advice; nil when nothing can.
  ///
  /// - Parameter fileSystem: The one that is full.
  /// - Returns: Commands, with the bytes that they give back.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package func whatCanGo(on fileSystem: FileSystem) throws -> String? {
    func isThere(_ path: String) -> Bool { (try? FileSystem(of: path).device) == fileSystem.device }
    var advice: [String] = []
    if isThere(layout.shards) {
      advice += try holders().prefix(3).map { "`tarn evict \($0.source)` (\(ByteSize.text($0.byteCount)))" }
    }
    if isThere(layout.artifacts) {
      let now = try garbageByteCount(GarbageOptions())
      let all = try garbageByteCount(GarbageOptions(grace: .zero, includesSegments: true))
      if now > 0 { advice.append("`tarn gc --apply` (\(ByteSize.text(now)))") }
      if all > now { advice.append("`tarn gc --segments --grace 0s --apply` (\(ByteSize.text(all)))") }
    }
    // A lake from before there was ballast: parts are what no row vouches for.
    if isThere(layout.root), fileSystem.freeByteCount < 1 << 16, Disk.size(of: CatalogBallast.path(layout)) == nil,
      let part = try interruptedTransfers().first?.files.last
    {
      advice.insert("first `rm` a part of a transfer by hand, such as \(part)", at: 0)
    }
    return advice.isEmpty ? nil : advice.joined(separator: ", ")
  }
}

extension TarnError {
  /// A full disk, with what can go there.
  ///
  /// - Parameter root: A lake's directory; nil when none is known.
  /// - Returns: The error with the file system, what is free, and what can be given
  ///   back; another error, and a full budget, as it is.
  package func explained(inLake root: String?) -> TarnError {
    guard code == .diskFull, let place, let fileSystem = try? FileSystem(of: place) else { return self }
    let catalog = root.flatMap { try? LakeCatalog.open(root: $0, writing: nil, orOlder: true) }
    let isJudged = message.hasPrefix("the disk is full: ")
    var text = isJudged ? message : "the disk is full: \(message)"
    if !isJudged {
      let kept = (catalog?.reserve() ?? DiskReserve()).byteCount(on: fileSystem)
      let free = ByteSize.text(fileSystem.freeByteCount)
      text += "; the file system at \(fileSystem.mountPoint) has \(free) free"
      text +=
        fileSystem.freeByteCount < kept
        ? ", \(ByteSize.text(kept - fileSystem.freeByteCount)) are missing at least"
        : ", so a quota or a limit of files (`ulimit -f`) is in the way"
    }
    let canGo = catalog.flatMap { try? $0.whatCanGo(on: fileSystem) } ?? nil
    let hint = canGo.map { "what can go: \($0); then run it again" } ?? "free some space there, then run it again"
    return TarnError(code, text, hint: hint, place: place)
  }
}
