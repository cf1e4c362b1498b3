// How far the work in a lake is at one moment, and how fast it goes from one look to
// the next: for whoever watches it. Reading is enough; the writers are not asked.

internal import Base
package import Catalog

/// What is under way in a lake, and how far.
package struct LakeLook: Sendable {
  /// A source, a training or a build.
  package struct Item: Sendable, Equatable {
    package enum Kind: String, Sendable { case source, training, build }

    package var kind: Kind
    package var name: String
    /// What is counted in whole things: shards, iterations.
    package var done: Int
    package var total: Int
    /// What moves between them: bytes held of a source, those of transfers under way
    /// included; rows encoded by a build; iterations of a training.
    package var amount: Double
    /// How much that will be, as far as it can be told; nil when it cannot.
    package var wholeAmount: Double?
    /// Shards that failed.
    package var failed = 0
    /// Nothing more is to be done.
    package var isComplete: Bool
    /// The catalog's word for where it is; of a source, none.
    package var state: String

    package init(
      kind: Kind, name: String, done: Int, total: Int, amount: Double, wholeAmount: Double?, failed: Int = 0,
      isComplete: Bool, state: String = ""
    ) {
      self.kind = kind
      self.name = name
      self.done = done
      self.total = total
      self.amount = amount
      self.wholeAmount = wholeAmount
      self.failed = failed
      self.isComplete = isComplete
      self.state = state
    }
  }

  /// Iterations done of a training, in SQL: a finished one has all of them, though those
  /// of bytes that another name was trained to before, or of a rebuilt catalog, are of no record.
  package static let iterationsDone = "CASE state WHEN 'ready' THEN iterations ELSE iterations_done END"

  package let root: String
  package let items: [Item]

  package init(root: String, items: [Item]) {
    self.root = root
    self.items = items
  }

  /// Looks into a lake.
  package init(_ catalog: LakeCatalog) throws {
    var parts: [String: Int] = [:]
    for transfer in try catalog.interruptedTransfers() {
      parts[transfer.source, default: 0] += transfer.files.filter { $0.hasSuffix(".part") }
        .reduce(0) { $0 + (Disk.size(of: $1) ?? 0) }
    }
    let console = try QueryConsole(layout: catalog.layout, timeLimit: nil)
    func rows(_ sql: String) throws -> [[SQLValue]] {
      var rows: [[SQLValue]] = []
      try console.run(sql) { if let values = $1 { rows.append(values) } }
      return rows
    }
    let sources = try rows(
      "SELECT source, present, shards - dropped, present_bytes, known_bytes, failed FROM v_source ORDER BY source"
    ).map { Self.source($0, parts: parts) }
    let trainings = try rows(
      "SELECT trained_index, \(Self.iterationsDone), iterations, state FROM v_trained_index ORDER BY trained_index"
    ).map(Self.training)
    let builds = try rows(
      "SELECT version, encoded, inputs - holes, rows_encoded, state FROM v_build_progress ORDER BY version"
    ).map(Self.build)
    self.init(root: catalog.layout.root, items: sources + trainings + builds)
  }

  private static func source(_ row: [SQLValue], parts: [String: Int]) -> Item {
    let (name, present, shards) = (row[0].text, row[1].integer, row[2].integer)
    let (bytes, known) = (Double(row[3].integer), Double(row[4].integer))
    // Sizes that nobody told are taken to be like those that came.
    let whole = known > bytes ? known : present > 0 ? bytes / Double(present) * Double(shards) : nil
    return Item(
      kind: .source, name: name, done: present, total: shards, amount: bytes + Double(parts[name] ?? 0),
      wholeAmount: whole, failed: row[5].integer, isComplete: present == shards)
  }

  private static func training(_ row: [SQLValue]) -> Item {
    Item(
      kind: .training, name: row[0].text, done: row[1].integer, total: row[2].integer,
      amount: Double(row[1].integer), wholeAmount: Double(row[2].integer), isComplete: row[3].text != "training",
      state: row[3].text)
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
  fileprivate var integer: Int { if case .integer(let value) = self { Int(value) } else { 0 } }
  fileprivate var text: String { if case .text(let value) = self { value } else { "" } }
}

/// Looks of the last seconds, and what they say of the speed.
///
/// Pure: the time is handed in.
package struct LakeMeter: Sendable {
  /// How far back a rate reaches.
  package static let window = Duration.seconds(30)

  private var looks: [(at: ContinuousClock.Instant, look: LakeLook)] = []

  package init() {}

  /// Takes a look.
  package mutating func take(_ look: LakeLook, at now: ContinuousClock.Instant) {
    looks.removeAll { now - $0.at > Self.window }
    looks.append((now, look))
  }

  /// The newest look.
  package var newest: LakeLook? { looks.last?.look }

  /// What an item gains a second; nil while there is one look, and when it stands still.
  package func rate(of item: LakeLook.Item) -> Double? {
    guard let first = looks.first, let last = looks.last, last.at > first.at,
      let before = first.look.items.first(where: { $0.kind == item.kind && $0.name == item.name })
    else { return nil }
    let gained = item.amount - before.amount
    return gained > 0 ? gained / (last.at - first.at).seconds : nil
  }

  /// Seconds until an item is whole at this rate; nil when that cannot be told.
  package func secondsLeft(of item: LakeLook.Item) -> Double? {
    guard !item.isComplete, let rate = rate(of: item), let whole = item.wholeAmount, whole > item.amount else {
      return nil
    }
    return (whole - item.amount) / rate
  }
}
