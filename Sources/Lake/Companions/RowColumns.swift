// Columns of companions for rows of a version: by (shard, row), which a row id stands for.
// Packs are asked first, then the files themselves; what is in neither is null, and told. Of
// rows that are excluded nothing is shown, whatever the version.

package import Base
package import Catalog
internal import Companions
internal import Foundation
internal import Indexer
internal import Synchronization

/// What companions say of a version's rows.
///
/// Opened files are kept, so that one serves many questions; threads may share it.
package final class RowColumns: Sendable {
  let catalog: LakeCatalog
  let version: IndexVersion
  /// The columns, as they were asked for.
  package let names: [String]
  private let state = Mutex(State())

  private struct State {
    /// By companion, ordinal of the shard and its bytes.
    var files: [Key: Opened] = [:]
    /// What was said already.
    var told: Set<Lack> = []
    /// Whether the names were held against what companions have.
    var namesAreKnown = false
    /// Which rows the ids count, as it was read last.
    var counting: Counting?
  }

  /// Which rows the ids count: a long list of shards, which holds as long as nobody writes to the catalog.
  private struct Counting {
    let dataVersion: Int
    let rows: CountedRows
    /// Rows of an adopted version of which nothing is said.
    let hidden: RowSubset?
  }

  private struct Key: Hashable {
    let companion: String
    let ordinal: Int
    let digest: ContentDigest
  }

  /// What answers for a companion's shard.
  enum Opened: Sendable {
    /// A pack, and the rows of which it says nothing.
    case pack(PackFile, without: Set<Int>)
    case file(CompanionFile)
    /// Nothing here does.
    case none
  }

  /// Packs and files that are open at a time, at most.
  package static let mostFiles = 256

  /// Prepares to answer.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - version: The version whose ids are asked for.
  ///   - names: Columns; of several companions of the source whose rows its ids count that have one of a name, the
  ///     first by name answers. `COMPANION.COLUMN` names one.
  /// - Throws: ``TarnError`` `.usage` where no companion of that source is registered.
  package init(_ catalog: LakeCatalog, _ version: IndexVersion, names: [String]) throws {
    (self.catalog, self.version) = (catalog, version)
    self.names = names
    let owner = try catalog.ownerOfColumns(of: version)
    guard try !catalog.companions(of: owner).isEmpty else {
      // Of adopted files there is no address to write a template like.
      let way =
        owner.isAdopted
        ? "--directory …` registers one, with a file for each that was adopted and a row for each id from its least on"
        : "--url …` registers one"
      throw TarnError(
        .usage, "\(owner.name) has no companion, so nothing is known of its rows",
        hint: "`tarn source add NAME --companion-of \(owner.name) \(way)")
    }
  }

  /// The values of some rows.
  ///
  /// - Parameters:
  ///   - ids: Row ids of the version, in any order, also of holes and such as it has not.
  ///   - cancellation: Asked between blocks of files, and between their rows.
  ///   - tell: Told once of each shard whose values are null because its companion is not
  ///     here, and why.
  /// - Returns: For each id an object with every column; null where nothing is known.
  /// - Throws: ``TarnError`` `.usage` for a column that no companion has, naming those
  ///   there are, and for one that is not read, with why; `.integrity` for a damaged pack.
  package func values(
    of ids: [Int64], cancellation: Cancellation, tell: (String) -> Void
  ) throws -> [[String: JSONValue]] {
    let nothing = Dictionary(names.map { ($0, JSONValue.null) }, uniquingKeysWith: { first, _ in first })
    var result = [[String: JSONValue]](repeating: nothing, count: ids.count)
    var lacks: [Lack: (text: String, count: Int)] = [:]
    defer { say(lacks, tell) }
    var places: [Int: [(place: Int, row: Int)]] = [:]
    let counting = try self.counting()
    let (counted, hidden) = (counting.rows, counting.hidden)
    let found = try counted.places(of: ids)
    let excluded = try catalog.rowsWithoutColumns(of: counted.owner, ordinals: Set(found.compactMap(\.ordinal)))
    for (place, id) in ids.enumerated() {
      switch found[place] {
      case .none: continue
      case .unknown:
        note(
          (
            Lack(companion: "", kind: .unknown),
            "row \(id) of \(version.name) is none that \(counted.owner.name) is known to have, so its columns are null"
          ), &lacks)
      case .row(let row, let ordinal, let isExcluded):
        guard !isExcluded, excluded[ordinal]?.contains(row) != true, hidden?.contains(id) != true else {
          note(
            (
              Lack(companion: "", kind: .excluded),
              "row \(id) of \(version.name) is excluded, so its columns are null"
            ), &lacks)
          continue
        }
        places[ordinal, default: []].append((place, row))
      }
    }
    let bound = Dictionary(grouping: try counted.bound(ordinals: Set(places.keys)), by: \.ordinal)
    let companions = try catalog.companions(of: counted.owner).map(\.name)
    var unbound = UnboundCompanions(Set(places.keys))
    var unanswered: Set<String> = []
    for (ordinal, rows) in places.sorted(by: { $0.key < $1.key }) {
      try cancellation.check()
      var (open, withheld) = (Set(names), Set<String>())
      var passedOver: [PassedOverCompanion] = []
      defer { unanswered.formUnion(open) }
      for turn in CompanionTurn.all(companions) where !open.isEmpty {
        let own = open.compactMap { name in turn.column(of: name, withheld: withheld).map { (name, $0) } }
          .sorted { $0.0 < $1.0 }
        let meant = own.map(\.0).filter { turn.isMeant(by: $0) }
        guard !own.isEmpty else { continue }
        var hasTold = false
        defer { if turn.isNamed, !hasTold { withheld.formUnion(meant) } }
        guard let file = bound[ordinal]?.first(where: { $0.source == turn.companion }) else {
          if !meant.isEmpty { note(try reason(turn.companion, ordinal, &unbound), &lacks) }
          continue
        }
        let wanted = rows.map(\.row)
        let found: (columns: [String], values: [[JSONValue]?])?
        do {
          found = try answer(file, wanted, own.map(\.1), cancellation, &lacks)
        } catch let fault as UnreadableCompanion {
          if !meant.isEmpty { pass(over: file, meant, fault.error, &passedOver, &lacks) }
          continue
        }
        guard let answer = found else { continue }
        hasTold = true
        for (number, values) in answer.values.enumerated() {
          guard let values else { continue }
          for (column, value) in zip(answer.columns, values) {
            for (name, asked) in own where asked == column { result[rows[number].place][name] = value }
          }
        }
        let had = Set(answer.columns)
        open.subtract(own.filter { had.contains($0.1) }.map(\.0))
      }
      try refuse(open, passedOver, &lacks)
    }
    if !unanswered.isEmpty { try requireNamesOnce { try cancellation.check() } }
    return result
  }

  /// The refusal of a column that a companion has and that is not read.
  static func unread(_ name: String, _ column: LeftOutColumn, of companion: String) -> TarnError {
    TarnError(
      .usage, "column '\(name.printable)' of \(companion) is not read: it is \(column.why)", hint: column.hint)
  }

  /// Refuses columns that a companion has and that are not read of it.
  private func requireRead(
    _ columns: [String], among known: Set<String>, _ leftOut: [LeftOutColumn], of companion: String
  ) throws {
    for name in columns where !known.contains(name) {
      if let column = leftOut.first(where: { $0.isMeant(by: name) }) {
        throw Self.unread(name, column, of: companion)
      }
    }
  }

  /// The column that a companion is asked for by a name; nil where it names another's.
  func column(_ name: String, of companion: String) -> String? {
    guard name.hasPrefix(companion + ".") else { return name }
    return String(name.dropFirst(companion.count + 1))
  }

  // MARK: Who is asked

  private func reading<T>(_ body: () throws -> T) throws -> T {
    do { return try body() } catch let error as TarnError where error.isOfBytes {
      throw UnreadableCompanion(error: error)
    }
  }

  private func pass(
    over bound: BoundCompanion, _ names: [String], _ error: TarnError, _ passedOver: inout [PassedOverCompanion],
    _ lacks: inout [Lack: (text: String, count: Int)]
  ) {
    passedOver.append(PassedOverCompanion(names: names, error: error))
    note((Lack(companion: bound.source, kind: .fault), "\(bound.source) is passed over: \(error.message)"), &lacks)
  }

  /// Refuses names that nobody answered to and that a companion may have which was passed over.
  private func refuse(
    _ open: Set<String>, _ passedOver: [PassedOverCompanion], _ lacks: inout [Lack: (text: String, count: Int)]
  ) throws {
    guard let fault = passedOver.first(where: { !open.isDisjoint(with: $0.names) }) else { return }
    // The error is all there is to say.
    lacks = [:]
    throw fault.error
  }

  /// Which rows the ids count now.
  private func counting() throws -> Counting {
    // Asked first: what is written while the rest is read makes it be read again.
    let dataVersion = try catalog.dataVersion()
    if let known = state.withLock(\.counting), known.dataVersion == dataVersion { return known }
    let counting = Counting(
      dataVersion: dataVersion, rows: try CountedRows(catalog, version),
      hidden: try catalog.claimedHiddenRows(of: version))
    state.withLock { $0.counting = counting }
    return counting
  }

  // MARK: All rows

  /// Where the columns of every shard are read, and what is not here to be read.
  ///
  /// - Parameter checkpoint: Called between shards, and between rows of files; an error of it ends the work.
  /// - Returns: The shards, what is told of them, and whether all that there is can be read.
  /// - Throws: ``TarnError`` `.usage` for a column that is in none.
  func plan(_ checkpoint: () throws -> Void) throws -> (shards: [ScannedShard], notes: [String], isWhole: Bool) {
    let counting = try self.counting()
    let (counted, hidden) = (counting.rows, counting.hidden)
    let (inputs, unknown) = try counted.shards()
    let bound = Dictionary(grouping: try counted.bound(), by: \.ordinal)
    let companions = try catalog.companions(of: counted.owner).map(\.name)
    let excluded = try catalog.rowsWithoutColumns(of: counted.owner)
    var lacks: [Lack: (text: String, count: Int)] = [:]
    var lacking = Set(names)
    if let first = unknown.first {
      let count = unknown.reduce(0) { $0 + $1.count }.counted("row")
      note(
        (
          Lack(companion: "", kind: .unknown),
          "\(count) of \(version.name), from row \(first.lowerBound) on, are none that \(counted.owner.name) is known to "
            + "have, so their columns are null"
        ), &lacks)
    }
    var unbound = UnboundCompanions(Set(inputs.map(\.ordinal)))
    let shards = try inputs.map { input in
      try checkpoint()
      var (open, withheld) = (Array(names.enumerated()), Set<String>())
      var parts: [ScannedShard.Part] = []
      var unsaid = (excluded[input.ordinal] ?? []).union(input.excludedRows)
      if let hidden { unsaid.formUnion((0..<input.rowCount).filter { hidden.contains(input.firstID + Int64($0)) }) }
      var passedOver: [PassedOverCompanion] = []
      for turn in CompanionTurn.all(companions) where !open.isEmpty {
        let asked = open.compactMap { place, name in
          turn.column(of: name, withheld: withheld).map { (name: $0, place: place) }
        }
        guard !asked.isEmpty else { continue }
        let meant = asked.map { names[$0.place] }.filter { turn.isMeant(by: $0) }
        var hasTold = false
        defer { if turn.isNamed, !hasTold { withheld.formUnion(meant) } }
        guard let file = bound[input.ordinal]?.first(where: { $0.source == turn.companion }) else {
          if !meant.isEmpty { note(try reason(turn.companion, input.ordinal, &unbound), &lacks) }
          continue
        }
        let found: Set<String>?
        do {
          found = try names(of: file, unsaid, checkpoint, &lacks)
        } catch let fault as UnreadableCompanion {
          if !meant.isEmpty { pass(over: file, meant, fault.error, &passedOver, &lacks) }
          continue
        }
        guard let had = found else { continue }
        hasTold = true
        let own = asked.filter { had.contains($0.name) }
        if !own.isEmpty {
          let known = parts.firstIndex { $0.companion == file }
          var part = known.map { parts[$0] } ?? ScannedShard.Part(file)
          for column in own { part.add(column.name, at: column.place) }
          if let known { parts[known] = part } else { parts.append(part) }
        }
        let places = Set(own.map(\.place))
        open.removeAll { places.contains($0.offset) }
      }
      try refuse(Set(open.map(\.element)), passedOver, &lacks)
      for (_, name) in names.enumerated() where !open.contains(where: { $0.element == name }) { lacking.remove(name) }
      return ScannedShard(
        name: input.name, firstID: input.firstID, rowCount: input.rowCount, parts: parts, unsaid: unsaid,
        rows: input.rows)
    }
    let nameless = unknown.map { ids in
      ScannedShard(
        name: "\(version.name)", firstID: ids.lowerBound, rowCount: ids.count, parts: [], unsaid: [],
        rows: [0..<ids.count])
    }
    if !lacking.isEmpty { try requireNames(checkpoint: checkpoint) }
    var notes: [String] = []
    say(lacks) { notes.append($0) }
    return (shards + nameless, notes, !lacks.keys.contains { $0.kind != .pack })
  }

  /// The columns of a companion's shard, those that are not read too; nil where it is not here.
  private func names(
    of bound: BoundCompanion, _ unsaid: Set<Int>, _ checkpoint: () throws -> Void,
    _ lacks: inout [Lack: (text: String, count: Int)]
  ) throws -> Set<String>? {
    switch try reading({ try opened(bound, saidBut: unsaid) }) {
    case .pack(let pack, let without):
      if !without.isSubset(of: unsaid) { note(isWithout(bound), &lacks) }
      return Set(pack.columns + pack.leftOut.map(\.name))
    case .file(let file):
      let known = try reading { try file.columns(checkpoint: checkpoint) }
      note(unpacked(bound), &lacks)
      return Set(known + file.leftOut().map(\.name))
    case .none:
      note(absent(bound), &lacks)
      return nil
    }
  }

  /// The rows of a shard from the first on.
  func scan(_ part: ScannedShard.Part, of shard: ScannedShard) throws -> RowScan {
    let (columns, companion) = (part.columns.map(\.name), part.companion.source)
    switch try opened(part.companion, saidBut: shard.unsaid) {
    case .pack(let pack, _):
      try requireRead(columns, among: Set(pack.columns), pack.leftOut, of: companion)
      return try RowScan(pack, columns: columns)
    case .file(let file):
      // It names no columns before they were read, but those that are left out are none of JSON.
      let leftOut = file.leftOut()
      if !leftOut.isEmpty { try requireRead(columns, among: Set(file.columns()), leftOut, of: companion) }
      return try RowScan(file, columns: columns)
    case .none:
      throw TarnError(.inputsMissing, absent(part.companion).1, hint: "it was here a moment ago: search again")
    }
  }

  private func answer(
    _ bound: BoundCompanion, _ rows: [Int], _ columns: [String], _ cancellation: Cancellation,
    _ lacks: inout [Lack: (text: String, count: Int)]
  ) throws -> (columns: [String], values: [[JSONValue]?])? {
    switch try reading({ try opened(bound, rows) }) {
    case .pack(let pack, let without):
      if !without.isDisjoint(with: rows) { note(isWithout(bound), &lacks) }
      let known = Set(pack.columns)
      let had = columns.filter { name in known.contains(name) || pack.leftOut.contains { $0.isMeant(by: name) } }
      guard !had.isEmpty else { return ([], []) }
      try requireRead(had, among: known, pack.leftOut, of: bound.source)
      return (had, try pack.values(ofRows: rows, columns: had, checkpoint: { try cancellation.check() }))
    case .file(let file):
      let known = Set(try reading { try file.columns(checkpoint: { try cancellation.check() }) })
      note(unpacked(bound), &lacks)
      let leftOut = file.leftOut()
      let had = columns.filter { name in known.contains(name) || leftOut.contains { $0.isMeant(by: name) } }
      guard !had.isEmpty else { return ([], []) }
      try requireRead(had, among: known, leftOut, of: bound.source)
      return (had, try file.values(ofRows: rows, columns: had, checkpoint: { try cancellation.check() }))
    case .none:
      note(absent(bound), &lacks)
      return nil
    }
  }

  private func isWithout(_ bound: BoundCompanion) -> (Lack, String) {
    (
      Lack(companion: bound.source, kind: .without),
      "\(bound.source) has a pack of \(bound.shard) without rows that were excluded then, and not the file, so "
        + "their columns are null; `tarn sync \(bound.source) --shards \(bound.ordinal)` fetches it"
    )
  }

  private func requireNamesOnce(checkpoint: () throws -> Void) throws {
    guard state.withLock({ !$0.namesAreKnown }) else { return }
    try requireNames(checkpoint: checkpoint)
    state.withLock { $0.namesAreKnown = true }
  }

  // MARK: What is lacking

  /// What is said once of a companion.
  private struct Lack: Hashable, Comparable {
    enum Kind: Int {
      case excluded, unknown, fault, rows, shard, bytes, binding, revision, without, pack

      /// Whether rows are counted of it, and not shards.
      var isOfRows: Bool { self == .excluded || self == .unknown }
    }

    let companion: String
    let kind: Kind

    static func < (first: Lack, second: Lack) -> Bool {
      (first.companion, first.kind.rawValue) < (second.companion, second.kind.rawValue)
    }
  }

  private func unpacked(_ bound: BoundCompanion) -> (Lack, String) {
    (
      Lack(companion: bound.source, kind: .pack),
      "\(bound.source) has no pack of \(bound.shard), so the file is searched for its rows; "
        + "`tarn pack \(bound.source)` makes that quick"
    )
  }

  private func absent(_ bound: BoundCompanion) -> (Lack, String) {
    (
      Lack(companion: bound.source, kind: bound.isNewest ? .bytes : .revision),
      "\(bound.shard) of \(bound.source) is not in the lake, so its columns are null; "
        + (bound.isNewest
          ? "`tarn sync \(bound.source) --shards \(bound.ordinal)` fetches it"
          : "it was replaced since; `tarn pack \(bound.source) --rebind` takes the newer rows")
    )
  }

  /// What companions have where nothing of them is bound: looked up once, for all shards that are
  /// asked about.
  private struct UnboundCompanions {
    let ordinals: Set<Int>
    var known: [String: (shards: [Int: Shard], faults: [String: MisalignedShard])] = [:]

    init(_ ordinals: Set<Int>) { self.ordinals = ordinals }

    /// A companion's shards by their places, and what is wrong with some of them by their names.
    mutating func shards(
      of companion: String, _ catalog: LakeCatalog
    ) throws -> (shards: [Int: Shard], faults: [String: MisalignedShard]) {
      if let found = known[companion] { return found }
      let source = try catalog.source(named: companion)
      let shards = try catalog.shards(of: source, at: ordinals).map { ($0.ordinal, $0) }
      let faults = try catalog.misaligned(of: source, ordinals: ordinals).map { ($0.shard, $0) }
      let found = (
        shards: Dictionary(shards, uniquingKeysWith: { first, _ in first }),
        faults: Dictionary(faults, uniquingKeysWith: { first, _ in first })
      )
      known[companion] = found
      return found
    }
  }

  /// Why nothing is bound for a shard.
  private func reason(
    _ companion: String, _ ordinal: Int, _ unbound: inout UnboundCompanions
  ) throws -> (Lack, String) {
    let (shards, faults) = try unbound.shards(of: companion, catalog)
    guard let shard = shards[ordinal] else {
      return (
        Lack(companion: companion, kind: .shard), "\(companion) has no shard \(ordinal), so its columns are null there"
      )
    }
    if let fault = faults[shard.name] {
      let text = fault.reason == nil ? fault.text : "\(fault.text); \(fault.way)"
      return (Lack(companion: companion, kind: .rows), text)
    }
    let nothing = "so its columns are null"
    guard shard.revision != nil else {
      return (
        Lack(companion: companion, kind: .bytes),
        "\(shard.name) of \(companion) is not in the lake, \(nothing); `tarn sync \(companion) --shards \(ordinal)` fetches it"
      )
    }
    return (
      Lack(companion: companion, kind: .binding),
      "\(shard.name) of \(companion) has not the rows of \(version.name), \(nothing); "
        + "`tarn sql \"SELECT * FROM v_companion\"` shows both counts"
    )
  }

  private func note(_ lack: (Lack, String), _ lacks: inout [Lack: (text: String, count: Int)]) {
    lacks[lack.0, default: (lack.1, 0)].count += 1
  }

  /// Says of each kind of lack the first shard and how many others there are, once.
  private func say(_ lacks: [Lack: (text: String, count: Int)], _ tell: (String) -> Void) {
    for (lack, found) in lacks.sorted(by: { $0.key < $1.key }) {
      guard state.withLock({ $0.told.insert(lack).inserted }) else { continue }
      tell(
        found.text
          + (found.count == 1
            ? "" : " (and \((found.count - 1).counted(lack.kind.isOfRows ? "other row" : "other shard")) likewise)")
      )
    }
  }

  /// What answers for rows; what is open does where it says something of each of them.
  func opened(_ bound: BoundCompanion, _ rows: [Int] = []) throws -> Opened {
    let key = Key(companion: bound.source, ordinal: bound.ordinal, digest: bound.digest)
    switch state.withLock({ $0.files[key] }) {
    case .pack(_, let without)? where !without.isDisjoint(with: rows): break
    case let opened?: return opened
    case nil: break
    }
    let opened = try open(bound, rows)
    state.withLock { state in
      if state.files.count >= Self.mostFiles { state.files.removeAll() }
      state.files[key] = opened
    }
    return opened
  }

  /// What answers for all rows but those of which nothing is said.
  private func opened(_ bound: BoundCompanion, saidBut unsaid: Set<Int>) throws -> Opened {
    let found = try opened(bound)
    guard case .pack(_, let without) = found, !without.isSubset(of: unsaid) else { return found }
    return try opened(bound, Array(without.subtracting(unsaid)))
  }

  private func open(_ bound: BoundCompanion, _ rows: [Int]) throws -> Opened {
    let file = catalog.layout.existingPath(bound.path, in: .shards)
    var second: Opened?
    let newest = PackWriter.formatVersion(ofFile: bound.shard)
    for (pack, path) in try ArtifactStore(catalog).packs(of: bound.digest) {
      let opened = try PackFile(path: path, of: bound.digest)
      let has = names.allSatisfy { name in
        // One that was asked for and is not there is null in every row.
        column(name, of: bound.source).map { opened.columns.contains($0) || pack.columns?.contains($0) == true } ?? true
      }
      // The file itself says more than a pack without a column, or one of an older format, which rounded numbers.
      guard file == nil || (has || pack.columns == nil) && pack.formatVersion >= newest else { continue }
      let without = Set(pack.without)
      guard has || pack.columns == nil, without.isDisjoint(with: rows) else {
        second = second ?? .pack(opened, without: without)
        continue
      }
      return .pack(opened, without: without)
    }
    if let file { return .file(try CompanionFile(file, named: bound.shard)) }
    return second ?? .none
  }
}
