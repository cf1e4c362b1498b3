// Rules of exclusions, held against the rows of shards: which of them have one of the values
// in the companion's column. What was looked at once is noted and not read again, so that the
// companion may go; where it is needed and not here, nothing is planned, and nothing sealed that a
// rule has not seen which was made since the plan.

internal import Base
internal import Catalog
internal import Companions

/// Holds shards against the rules of their source.
struct RuleEvaluation {
  /// What it did.
  struct Outcome {
    var scans: [RuleScan] = []
    /// Why the first shard could not be looked at that could not.
    var lack: TarnError?
    /// How many those are.
    var lackingCount = 0
    /// Shards of companions that are not in the lake, by companion.
    private var absent: [String: [Int]] = [:]

    /// What helps all of them, where each lacks a file of a companion that is not here; else what helps the first.
    var way: String? {
      guard lackingCount > 1, absent.values.reduce(0, { $0 + $1.count }) == lackingCount else { return lack?.hint }
      let commands = absent.sorted { $0.key < $1.key }.map { Self.command(fetching: $0.value, of: $0.key) }
      return "\(commands.joined(separator: " and ")) fetch\(commands.count == 1 ? "es" : "") them"
    }

    /// Why some could not be looked at, as one error; nil where all could.
    var error: TarnError? {
      guard let lack else { return nil }
      let others = lackingCount - 1
      return TarnError(
        lack.code, lack.message + (others == 0 ? "" : " (and \(others.counted("other shard")) likewise)"), hint: way)
    }

    fileprivate mutating func add(_ lack: TarnError, absent shard: (companion: String, ordinal: Int)? = nil) {
      lackingCount += 1
      self.lack = self.lack ?? lack
      if let shard { absent[shard.companion, default: []].append(shard.ordinal) }
    }

    /// Fetches shards of a companion; all that are not here where their numbers are more than somebody reads.
    private static func command(fetching ordinals: [Int], of companion: String) -> String {
      let numbers = OrdinalSet(ascending: ordinals.sorted()).text
      return numbers.count > 60 ? "`tarn sync \(companion)`" : "`tarn sync \(companion) --shards \(numbers)`"
    }
  }

  private let catalog: LakeCatalog
  private let source: Source
  private let cancellation: Cancellation
  /// The version that waits for it, whose shards are fixed; nil where shards may still be left out.
  private let version: VersionName?

  init(_ catalog: LakeCatalog, _ source: Source, for version: VersionName? = nil, cancellation: Cancellation) {
    (self.catalog, self.source, self.cancellation) = (catalog, source, cancellation)
    self.version = version
  }

  /// Looks at what was not looked at before.
  ///
  /// - Parameters:
  ///   - rules: Rules of the source.
  ///   - shards: Shards of it that are no holes.
  ///   - bound: Bytes of shards that are looked at in the place of their newest, by the shards' numbers.
  ///   - isAsked: Whether a plan asks, so that shards whose bytes nobody has seen are looked at,
  ///     too: rows of theirs that must go are a lack. Where none asks, a companion that cannot be
  ///     read is a lack as well: what others say is not to be lost with it.
  /// - Returns: What was found, which is not recorded yet, and what could not be looked at.
  /// - Throws: ``TarnError`` for a companion that cannot be read, where a plan asks: `.badFeatures`,
  ///   `.integrity`, `.io`, `.usage` for a column that it has not.
  func run(
    _ rules: [ExclusionRule], of shards: [Shard], _ bound: [Int64: ShardRevision] = [:], unseen isAsked: Bool = true
  ) throws -> Outcome {
    var outcome = Outcome()
    guard !rules.isEmpty else { return outcome }
    let known = try catalog.ruleScans(of: source)
    let companions = try Dictionary(
      uniqueKeysWithValues: Set(rules.map(\.companionID)).map { id in
        (id, Dictionary(try catalog.shards(of: catalog.source(id: id)).map { ($0.ordinal, $0) }) { first, _ in first })
      })
    var strays: [Int64: [Int: String]] = [:]
    for id in companions.keys { strays[id] = try catalog.strays(of: catalog.source(id: id)) }
    for shard in shards {
      let revision = bound[shard.id] ?? shard.revision
      for (companionID, rules) in Dictionary(grouping: rules, by: \.companionID).sorted(by: { $0.key < $1.key }) {
        let companion = companions[companionID]?[shard.ordinal]
        let open = rules.filter { rule in
          guard let revision, let companion, let by = companion.revision else { return true }
          return !known.contains(
            RuleScan.Key(
              rule: rule.id, shardID: shard.id, revision: revision.number, companionShardID: companion.id,
              companionRevision: by.number))
        }
        guard !open.isEmpty, revision != nil || isAsked else { continue }
        do {
          outcome.scans += try found(shard, revision, companion, strays[companionID]?[shard.ordinal], open)
        } catch let lack as Lack {
          outcome.add(lack.error, absent: lack.absent)
        } catch let error as TarnError where !isAsked && error.code != .interrupted {
          outcome.add(error)
        }
      }
    }
    return outcome
  }

  /// Why a shard cannot be looked at yet.
  private struct Lack: Error {
    let error: TarnError
    /// The companion's shard that is not in the lake, where that is it.
    let absent: (companion: String, ordinal: Int)?

    init(_ error: TarnError, absent: (companion: String, ordinal: Int)? = nil) {
      (self.error, self.absent) = (error, absent)
    }
  }

  /// Looks at one shard; `reason` is why the companion's belongs to another one, where it does.
  private func found(
    _ shard: Shard, _ revision: ShardRevision?, _ companion: Shard?, _ reason: String?, _ rules: [ExclusionRule]
  ) throws -> [RuleScan] {
    let (rule, name) = (rules[0], rules[0].companion)
    // One that is only tried has no number.
    let whose = rule.number == 0 ? "the rule" : "rule \(rule.number) of \(source.name)"
    let needs = "\(whose) has to look at the column '\(rule.column.printable)' of "
    let otherWays =
      (version.map { "`tarn abandon \($0)` gives the version up" } ?? "`--shards` leaves \(shard.name) out")
      + "; `tarn exclude \(source.name) --match … --undo` takes the rule back"
    guard let companion else {
      throw Lack(
        TarnError(
          .inputsMissing, "\(needs)\(name), which has no shard \(shard.ordinal) for \(shard.name)",
          hint: "`tarn source refresh \(name)` adds shards, where it has templates "
            + "`tarn source extend \(name) --count \(shard.ordinal + 1)`; \(otherWays)"))
    }
    guard !companion.isDropped else {
      // Its place is there, and stayed empty where the shard beside it was dropped.
      throw Lack(
        TarnError(
          .inputsMissing, "\(needs)\(companion.name.printable) of \(name), which was dropped",
          hint: "`tarn source drop-shards \(name) --shards \(companion.ordinal) --undo` takes it back; \(otherWays)"))
    }
    if let reason {
      throw Lack(
        TarnError(
          .conflict,
          "\(needs)\(companion.name.printable) of \(name), which stands beside \(shard.name.printable), \(reason)",
          hint: LakeCatalog.way(besides: source.name, companion: true) + "; exclude by that one then; "
            + "`tarn exclude \(source.name) --match … --undo` takes the rule back"))
    }
    guard let by = companion.revision else { throw absent(companion, needs, name) }
    let rowCount = revision?.rowCount ?? shard.knownRowCount
    guard rowCount == nil || rowCount == by.rowCount else {
      throw Lack(
        TarnError(
          .conflict,
          "\(needs)\(companion.name) of \(name), which has \(by.rowCount) rows where \(shard.name) has "
            + "\((rowCount ?? 0)): nothing says which row is which",
          hint: "`tarn sync \(name) --refresh` or `tarn import` brings the right one"))
    }
    var matches: [Int64: [RuleMatch]] = [:]
    for (column, own) in Dictionary(grouping: rules, by: \.column).sorted(by: { $0.key < $1.key }) {
      let scan = try scan(column, of: companion, by, absent(companion, needs, name))
      var rows = 0
      while try scan.next() {
        if rows.isMultiple(of: 4096) { try cancellation.check() }
        if let digest = scan.values[0].matchedText.map({ ContentDigest.of(Array($0)) }) {
          for rule in own where rule.values.contains(digest) {
            matches[rule.id, default: []].append(RuleMatch(row: rows, value: digest))
          }
        }
        rows += 1
      }
      guard rows == by.rowCount else {
        throw TarnError(
          .integrity, "\(companion.name) of \(name) has \(rows) rows, the catalog counts \(by.rowCount)",
          hint: "run `tarn verify --repair`")
      }
    }
    guard let revision else {
      // Nobody has seen its bytes; where no row of it must go, that is all there is to say.
      guard let first = matches.values.joined().map(\.row).min() else { return [] }
      throw Lack(
        TarnError(
          .conflict,
          "row \(first) of \(shard.name) must go by \(whose), and nobody has seen the bytes "
            + "whose row it is",
          hint: "`tarn sync \(source.name) --shards \(shard.ordinal)` fetches them"))
    }
    return rules.map { RuleScan(rule: $0, revision: revision, companion: by, matches: matches[$0.id] ?? []) }
  }

  private func absent(_ companion: Shard, _ needs: String, _ name: String) -> Lack {
    Lack(
      TarnError(
        .inputsMissing, "\(needs)\(companion.name) of \(name), which is not in the lake",
        hint: "`tarn sync \(name) --shards \(companion.ordinal)` fetches it"),
      absent: (name, companion.ordinal))
  }

  /// All rows of a column of a companion's bytes: of a pack of all rows, else of the file.
  private func scan(
    _ column: String, of companion: Shard, _ by: ShardRevision, _ absent: Lack
  ) throws -> RowScan {
    let here = catalog.layout.existingPath(companion.path, in: .shards)
    let newest = PackWriter.formatVersion(ofFile: companion.name)
    let isOfLines = CompanionFormat(ofFile: companion.name)?.table == .jsonl
    for (pack, path) in try ArtifactStore(catalog).packs(of: by.digest)
    // One of an older format rounded numbers that the file itself has.
    where pack.without.isEmpty && (pack.formatVersion >= newest || here == nil) {
      let file = try PackFile(path: path, of: by.digest)
      // A member that a pack for it of JSON lines has not is in no row of them: the pack answers alone.
      let mayLack =
        isOfLines && (pack.columns?.contains(column) ?? true) && !file.leftOut.contains { $0.isMeant(by: column) }
      guard mayLack || file.columns.contains(column) else { continue }
      return try RowScan(file, columns: [column], mayLack: mayLack)
    }
    guard let path = here else { throw absent }
    // Opened before it is hashed: what takes its place meanwhile is not what is read.
    let file = try CompanionFile(path, named: companion.name)
    guard try Disk.digest(of: path) == by.digest else {
      throw TarnError(.integrity, "\(path) has changed since it was fetched", hint: "run `tarn verify --repair`")
    }
    return try RowScan(file, columns: [column])
  }
}

extension RowValue {
  /// What a value of a rule is compared with, in UTF-8: of a text itself, of others as JSON has
  /// them, arrays and objects in the one way in which tarn writes them; nil for null.
  var matchedText: ArraySlice<UInt8>? {
    guard case .json(let bytes) = self else { return text }
    return JSONValue(parsing: String(decoding: bytes, as: UTF8.self)).map { Array($0.text.utf8)[...] } ?? bytes
  }
}

extension LakeCatalog {
  /// Holds the shards of a plan against the rules of their source, and records what is found.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - shards: Shards of it that are no holes.
  ///   - isRecording: Whether that is done; otherwise it is only found out whether it can be.
  ///   - cancellation: Asked between rows.
  ///   - tell: Told, one line, of each rule that found rows.
  /// - Throws: ``TarnError`` where a rule cannot be held against a shard, saying what to do;
  ///   what was found of others is recorded.
  func applyRules(
    of source: Source, to shards: [Shard], recording isRecording: Bool, _ cancellation: Cancellation,
    tell: (String) -> Void
  ) throws {
    let outcome = try RuleEvaluation(self, source, cancellation: cancellation).run(
      exclusionRules(of: source), of: shards)
    let counts = try isRecording ? add(outcome.scans, of: source) : [:]
    for (rule, count) in counts.sorted(by: { $0.key < $1.key }) {
      tell("rule \(rule) of \(source.name) found \(count.counted("row")) in what came since: excluded")
    }
    if let error = outcome.error { throw error }
  }

  /// Holds the bytes that a version is made of against the rules of its source, before it is sealed, and records what is
  /// found: which bytes they are is known of some only since a worker or a publisher has said it.
  ///
  /// - Parameters:
  ///   - version: A version whose inputs are bound.
  ///   - time: When it was planned, and with that held against the rules that there were; nil where no plan was.
  ///   - cancellation: Asked between rows.
  /// - Returns: Why a rule that no plan has held cannot be held against all of them; nil where each is.
  /// - Throws: ``TarnError`` of the catalog, or `.interrupted`.
  func applyRules(to version: IndexVersion, since time: String?, _ cancellation: Cancellation) throws -> TarnError? {
    let source = try source(id: version.sourceID)
    let rules = try exclusionRules(of: source)
    guard !rules.isEmpty else { return nil }
    let inputs = try inputs(of: version).filter { !$0.isHole }
    let bound = Dictionary(
      inputs.compactMap { input in input.revision.map { (input.shardID, $0) } }, uniquingKeysWith: { first, _ in first }
    )
    let shards = try shards(of: source).filter { bound[$0.id] != nil }
    // One that is pulled is sealed whatever is found.
    let evaluation = RuleEvaluation(
      self, source, for: time == nil ? nil : version.name, cancellation: cancellation)
    let isNew = { (rule: ExclusionRule) in time.map { rule.madeAt >= $0 } ?? true }
    let outcome = try evaluation.run(rules.filter(isNew), of: shards, bound, unseen: false)
    try add(outcome.scans, of: source)
    if let error = outcome.error { return error }
    // What the plan has looked at may be gone since, and what it was told may have become more.
    let others = try evaluation.run(rules.filter { !isNew($0) }, of: shards, bound, unseen: false)
    try add(others.scans, of: source)
    return nil
  }
}
