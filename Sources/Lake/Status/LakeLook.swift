// A snapshot of the work under way in a lake, for `status --watch` and the server: what the
// catalog, the leases and the directories of tasks say. It only reads; writers are not asked.

internal import Base
package import Catalog
internal import Foundation

/// What is under way in a lake, and how far.
package struct LakeLook: Sendable {
  /// A source, a training or a build.
  package struct Item: Sendable, Equatable {
    package enum Kind: String, Sendable { case source, training, build }

    /// Identifies an item within a look, and across looks.
    struct Key: Hashable, Sendable {
      let kind: Kind
      let name: String
    }

    package var kind: Kind
    package var name: String
    var key: Key { Key(kind: kind, name: name) }
    /// Shards or iterations that are done, of ``total``.
    package var done: Int
    package var total: Int
    /// The same in a finer unit: bytes held of a source, those of transfers under way
    /// included; rows encoded by a build; iterations of a training.
    package var amount: Double
    /// A count with the same beginning in successive looks, for rates: of a source the bytes that came, even if they
    /// were evicted again; of all else ``amount``.
    package var moved: Double
    /// Bytes of a source per second over the last minute, by transfers that have ended; of all else nil.
    package var pastRate: Double?
    /// What ``amount`` will come to; nil when that cannot be estimated.
    package var wholeAmount: Double?
    /// Shards that failed.
    package var failed = 0
    /// Whether nothing is left to be done.
    package var isComplete: Bool
    /// Its state in the catalog; empty for a source.
    package var state: String
    /// Whether it is unfinished and no running command works on it; told of trainings only.
    package var isStopped = false

    package init(
      kind: Kind, name: String, done: Int, total: Int, amount: Double, wholeAmount: Double?, failed: Int = 0,
      isComplete: Bool, state: String = ""
    ) {
      self.kind = kind
      self.name = name
      self.done = done
      self.total = total
      self.amount = amount
      moved = amount
      self.wholeAmount = wholeAmount
      self.failed = failed
      self.isComplete = isComplete
      self.state = state
    }
  }

  /// Iterations of a training that are done, in SQL.
  ///
  /// A trained index whose bytes another name had already, or that is from a rebuilt catalog, has no record of its
  /// iterations: all of them count as done.
  package static let iterationsDone =
    "CASE WHEN state = 'ready' AND iterations_done = 0 THEN iterations ELSE iterations_done END"

  /// What is said of a training that is stopped.
  package static let stoppedTraining = "stopped; the same `tarn train` goes on"

  /// What went wrong last, of a transfer or a task.
  package struct Fault: Sendable, Equatable {
    /// When, in the catalog's form.
    package let at: String
    package let text: String

    package init(at: String, text: String) {
      self.at = at
      self.text = text
    }
  }

  /// A file system that the lake is on.
  package struct Room: Sendable, Equatable {
    package let freeByteCount: Int
    /// What stays free of it.
    package let keptByteCount: Int

    package init(freeByteCount: Int, keptByteCount: Int) {
      self.freeByteCount = freeByteCount
      self.keptByteCount = keptByteCount
    }
  }

  package let root: String
  package var items: [Item]
  /// Transfers that are under way, and bytes that they have; interrupted ones included.
  package var partCount = 0
  package var partByteCount = 0
  /// Least room first.
  package var rooms: [Room] = []
  package var commands: [CommandAtWork] = []
  /// The newest first.
  package var faults: [Fault] = []
  /// Lines about tasks that others carry out.
  package var tasks: [String] = []
  /// The limit of all transfers, as it was written; nil for none.
  package var limit: String?
  /// The newest transfer in the catalog.
  package var lastTransfer: Int64 = 0

  package init(root: String, items: [Item]) {
    self.root = root
    self.items = items
  }

  /// Looks into a lake.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - before: The look before this one, which what moved is added to.
  ///   - tasks: Lines about tasks, where they are known.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package init(_ catalog: LakeCatalog, after before: LakeLook? = nil, tasks: [String] = []) throws {
    var parts: [String: Int] = [:]
    var (partCount, partByteCount) = (0, 0)
    for transfer in try catalog.interruptedTransfers() {
      let bytes = transfer.files.filter { $0.hasSuffix(".part") }.reduce(0) { $0 + (Disk.size(of: $1) ?? 0) }
      parts[transfer.source, default: 0] += bytes
      partByteCount += bytes
      partCount += 1
    }
    var sources = try catalog.rows(
      "SELECT source, present, shards - dropped, present_bytes, known_bytes, failed FROM v_source ORDER BY source"
    ).map { Self.source($0, parts: parts) }
    let stopped = try catalog.stoppedTrainings()
    let trainings = try catalog.rows(
      "SELECT trained_index, \(Self.iterationsDone), iterations, state FROM v_trained_index ORDER BY trained_index"
    ).map { Self.training($0, stopped: stopped) }
    let builds = try catalog.rows(
      "SELECT version, encoded, inputs - holes, rows_encoded, state FROM v_build_progress ORDER BY version"
    ).map(Self.build)
    let last = try catalog.rows("SELECT coalesce(max(id), 0) FROM transfer").first?[0].integer ?? 0
    let came = try Self.table(
      catalog.rows(before.map { Self.came(after: $0.lastTransfer, until: last) } ?? Self.cameOfLate(until: last)))
    let movedBefore = Dictionary(
      (before?.items ?? []).filter { $0.kind == .source }.map { ($0.name, $0.moved) }, uniquingKeysWith: { $1 })
    for place in sources.indices {
      let name = sources[place].name
      guard let before else {
        sources[place].moved = Double(parts[name] ?? 0)
        sources[place].pastRate = came[name].flatMap { $0 > 0 ? $0 / 60 : nil }
        continue
      }
      // Bytes count first as a part, then as a shard; those that were held when the watch began are not counted.
      sources[place].moved =
        (movedBefore[name].map { $0 - Double(before.parts[name] ?? 0) } ?? 0) + (came[name] ?? 0)
        + Double(parts[name] ?? 0)
    }
    self.init(root: catalog.layout.root, items: sources + trainings + builds)
    self.parts = parts
    (self.partCount, self.partByteCount) = (partCount, partByteCount)
    lastTransfer = Int64(last)
    faults = try catalog.rows(Self.faults(until: last)).map {
      let count = $0[4].integer
      return Fault(
        at: $0[0].text, text: "\($0[1].text)/\($0[2].text)\(count > 1 ? " (\(count) times)" : ""): \($0[3].text)")
    }
    limit = try catalog.setting(.bwlimit)
    commands = catalog.commandsAtWork(at: Date())
    rooms = Self.rooms(of: catalog.layout)
    self.tasks = tasks
  }

  /// Bytes of parts, by source.
  private var parts: [String: Int] = [:]

  /// How many of the last transfers are looked at.
  private static let transferCount = 2_000

  /// Bytes of shards that were completed after one transfer and until another, parts of earlier transfers included.
  private static func came(after transfer: Int64, until last: Int) -> String {
    """
    SELECT s.name, CAST(sum(t.resumed_from + t.received_byte_count) AS REAL) FROM transfer t
    JOIN shard h ON h.id = t.shard_id JOIN source s ON s.id = h.source_id
    WHERE t.id > \(transfer) AND t.id <= \(last) AND t.outcome = 'complete' GROUP BY s.name
    """
  }

  /// Bytes that came in the last minute with transfers that have ended; of one that began before, in proportion.
  private static func cameOfLate(until last: Int) -> String {
    """
    SELECT s.name, sum(t.received_byte_count * min(1.0,
      (julianday(t.ended_at) - julianday('now', '-60 seconds')) / max(1e-9, julianday(t.ended_at) - julianday(t.started_at))))
    FROM transfer t JOIN shard h ON h.id = t.shard_id JOIN source s ON s.id = h.source_id
    WHERE t.id > \(last - transferCount) AND julianday(t.ended_at) > julianday('now', '-60 seconds') GROUP BY s.name
    """
  }

  /// The newest transfer for each error text, as a host that is down fails all transfers in the same way.
  private static func faults(until last: Int) -> String {
    """
    SELECT t.ended_at, s.name, h.name, t.error, count(*), max(t.id) FROM transfer t
    JOIN shard h ON h.id = t.shard_id JOIN source s ON s.id = h.source_id
    WHERE t.id > \(last - transferCount) AND t.error IS NOT NULL AND t.outcome IN ('failed', 'absent')
    GROUP BY t.error ORDER BY max(t.id) DESC LIMIT 5
    """
  }

  private static func table(_ rows: [[SQLValue]]) -> [String: Double] {
    Dictionary(rows.map { ($0[0].text, $0[1].real) }, uniquingKeysWith: { $1 })
  }

  private static func rooms(of layout: LakeLayout) -> [Room] {
    var seen: Set<UInt64> = []
    return [layout.root, layout.shards, layout.artifacts].compactMap { try? FileSystem(of: $0) }
      .filter { seen.insert($0.device).inserted }
      .map { Room(freeByteCount: $0.freeByteCount, keptByteCount: DiskReserve().byteCount(on: $0)) }
      .sorted { $0.freeByteCount - $0.keptByteCount < $1.freeByteCount - $1.keptByteCount }
  }

  private static func source(_ row: [SQLValue], parts: [String: Int]) -> Item {
    let (name, present, shards) = (row[0].text, row[1].integer, row[2].integer)
    let (bytes, known) = (Double(row[3].integer), Double(row[4].integer))
    // Shards of unknown size are taken to be as large as the average one that came.
    let whole = known > bytes ? known : present > 0 ? bytes / Double(present) * Double(shards) : nil
    return Item(
      kind: .source, name: name, done: present, total: shards, amount: bytes + Double(parts[name] ?? 0),
      wholeAmount: whole, failed: row[5].integer, isComplete: present == shards)
  }

  private static func training(_ row: [SQLValue], stopped: Set<String>) -> Item {
    var item = Item(
      kind: .training, name: row[0].text, done: row[1].integer, total: row[2].integer,
      amount: Double(row[1].integer), wholeAmount: Double(row[2].integer), isComplete: row[3].text != "training",
      state: row[3].text)
    item.isStopped = !item.isComplete && stopped.contains(item.name)
    return item
  }

  private static func build(_ row: [SQLValue]) -> Item {
    let (encoded, inputs, rows) = (row[1].integer, row[2].integer, Double(row[3].integer))
    return Item(
      kind: .build, name: row[0].text, done: encoded, total: inputs, amount: rows,
      wholeAmount: encoded > 0 ? rows / Double(encoded) * Double(inputs) : nil,
      isComplete: !["building", "planned"].contains(row[4].text), state: row[4].text)
  }
}

extension SQLValue {
  var real: Double { if case .real(let value) = self { value } else { Double(integer) } }
  var integer: Int { if case .integer(let value) = self { Int(value) } else { 0 } }
  var text: String { if case .text(let value) = self { value } else { "" } }
}
