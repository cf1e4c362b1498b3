// Which shards a version is made of, where their ids begin, and which outputs
// they go to.

package import Base
package import Catalog
internal import Features
internal import Indexer

/// Plans the inputs of a version.
///
/// Ids count through **all** shards of the source in order, whichever of them
/// the version has: a row has the same id in every version of a source whose
/// shards keep their lengths, and a missing shard leaves a hole.
struct VersionPlanner {
  let catalog: LakeCatalog
  let options: BuildOptions
  let cancellation: Cancellation
  /// Outputs of sealed versions.
  let reuse: OutputReuse
  /// Whether the plan is only for a cost estimate: then nothing is recorded, and shards whose numbers of rows are
  /// learnt only from mirrors are returned in ``Inputs/unknown``.
  var isDry = false
  /// Called with one line for each rule that found rows.
  let tell: (String) -> Void

  /// What a version is made of.
  struct Inputs {
    var inputs: [VersionPlan.Input] = []
    /// Names of shards at the end of the source that no mirror has and whose numbers of rows are not known: they get
    /// no ids, not even as holes.
    var leftOut: [String] = []
    /// Ids of shards whose rows are in outputs of sealed versions.
    var held: Set<Int64> = []
    /// In a dry plan, ids of shards whose numbers of rows are not known yet: they count as none.
    var unknown: Set<Int64> = []
  }

  /// The inputs, in order.
  ///
  /// - Parameters:
  ///   - source: The source to build from.
  ///   - trained: Digest of the trained index, to know which shards are encoded
  ///     already and need no bytes.
  /// - Returns: One input for each chosen shard but those that are left out.
  /// - Throws: ``TarnError`` `.inputsMissing` when a shard is not in the
  ///   lake and neither to be fetched nor skipped, or a length is not known.
  func inputs(of source: Source, trained: ContentDigest) throws -> Inputs {
    let shards = try catalog.shards(of: source)
    // Only a document may choose dropped shards, as holes; their ids stay.
    _ = try options.holes == nil ? catalog.shardsInUse(of: source, ordinals: options.ordinals) : []
    var chosen = Self.chosen(shards, by: options)
    let segments = try catalog.segments(
      of: source, trained: trained, badRows: options.badRows, formatVersion: segmentFormatVersion)
    // Shards that no mirror has are holes where that is allowed, and are asked for otherwise.
    let ofNobody = options.missing == .skip ? Set(try catalog.shardsOfNobody(of: source).map(\.id)) : []
    let held = try shardsHeld(chosen, among: shards, of: source, ofNobody)
    var found = Inputs(held: held)
    var contents: [Int: VersionPlan.Content] = [:]
    var missing: [String] = []
    for shard in chosen {
      let content = content(
        of: shard, isEncoded: held.contains(shard.id) || shard.revision.map { segments[$0.digest] != nil } ?? false,
        isOfNobody: ofNobody.contains(shard.id))
      contents[shard.ordinal] = content
      if case .hole = content { missing.append(shard.name) }
    }
    if options.missing == .skip, options.holes == nil {
      found.leftOut = try leaveOutEnd(of: &chosen, contents, of: source)
      let leftOut = Set(found.leftOut)
      missing.removeAll(where: leftOut.contains)
    }
    guard missing.isEmpty || options.missing == .skip, missing.count < chosen.count else {
      throw source.missing(missing, of: chosen.count)
    }
    if options.excluded == nil {
      try catalog.applyRules(
        of: source,
        to: chosen.filter { shard in
          if case .hole? = contents[shard.ordinal] { false } else { true }
        }, recording: !isDry, cancellation, tell: tell)
    }
    let exclusions = try options.excluded == nil ? catalog.exclusions(of: source) : [:]
    let named = try options.excluded == nil ? catalog.exclusions(of: source, by: .named) : [:]
    var firstID: Int64 = 0
    for shard in shards where shard.ordinal <= (chosen.last?.ordinal ?? 0) {
      let rowCount = try plannedRowCount(of: shard, in: source, &found.unknown)
      if let content = contents[shard.ordinal] {
        let (excluded, digest) = try excluded(
          of: shard, content, exclusions[shard.id] ?? [:], named: named[shard.id] ?? [:], of: source)
        found.inputs.append(
          VersionPlan.Input(
            shardID: shard.id, shardOrdinal: shard.ordinal,
            // Rows are excluded by the digest of their shard, so no other bytes may come for it.
            content: excluded.isEmpty ? content : content.bound,
            outputOrdinal: found.inputs.count / options.shardsPerOutput, firstID: firstID, rowCount: rowCount,
            excluded: excluded, of: digest))
      }
      firstID += Int64(rowCount)
      guard ForeignNumber.rowID.holds(Int(firstID)) else {
        throw TarnError(
          .usage, "the rows of \(source.name) up to \(shard.name) are more than there are row ids",
          hint: "correct the list it was registered with")
      }
    }
    return found
  }

  /// The rows of a shard, on which the ids after it depend.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - source: Its source.
  ///   - unknown: Gets the shard's id where only a dry plan can go on without them; they count as none then.
  /// - Returns: The rows.
  /// - Throws: ``TarnError`` `.inputsMissing` where they are not known.
  private func plannedRowCount(of shard: Shard, in source: Source, _ unknown: inout Set<Int64>) throws -> Int {
    do {
      return try shard.plannedRowCount(in: source, for: "the ids after it depend on it")
    } catch let error as TarnError where error.code == .inputsMissing {
      if let silence = try catalog.silence(about: shard, in: source, for: "the ids after it depend on it") {
        throw silence
      }
      // A build that fetches asks the mirrors before it plans; a dry one does not.
      guard isDry, options.fetches else { throw error }
      unknown.insert(shard.id)
      return 0
    }
  }

  /// The shards that a build takes, of all of a source.
  static func chosen(_ shards: [Shard], by options: BuildOptions) -> [Shard] {
    shards.filter { shard in
      (options.ordinals?.contains(shard.ordinal) ?? true)
        && (!shard.isDropped || options.holes?.contains(shard.ordinal) == true)
    }
  }

  /// Ids of the chosen shards whose rows are in outputs of sealed versions that the build can take over: these shards
  /// need not be here.
  private func shardsHeld(
    _ chosen: [Shard], among shards: [Shard], of source: Source, _ ofNobody: Set<Int64>
  ) throws -> Set<Int64> {
    guard !reuse.isEmpty else { return [] }
    let exclusions = try options.excluded == nil ? catalog.exclusions(of: source) : [:]
    // The ids of a shard are known only where the numbers of rows of all shards before it are.
    var ids: [Int64: (first: Int64, rowCount: Int)] = [:]
    var end: Int64 = 0
    for shard in shards {
      guard let count = try? shard.plannedRowCount(in: source, for: "ids") else { break }
      ids[shard.id] = (end, count)
      end += Int64(count)
      guard ForeignNumber.rowID.holds(Int(end)) else { break }
    }
    var held: Set<Int64> = []
    for start in stride(from: 0, to: chosen.count, by: options.shardsPerOutput) {
      let own = chosen[start..<min(start + options.shardsPerOutput, chosen.count)]
      let inputs = own.compactMap { shard -> VersionPlan.Input? in
        guard let id = ids[shard.id] else { return nil }
        let content = content(of: shard, isEncoded: true, isOfNobody: ofNobody.contains(shard.id))
        var excluded: [Int] = []
        if case .bytes(let revision) = content {
          excluded = options.excluded.map { $0[shard.ordinal] ?? [] } ?? exclusions[shard.id]?[revision.digest] ?? []
        }
        return VersionPlan.Input(
          shardID: shard.id, shardOrdinal: shard.ordinal, content: content, outputOrdinal: 0, firstID: id.first,
          rowCount: id.rowCount, excluded: excluded)
      }
      if inputs.count == own.count, reuse.has(inputs) { held.formUnion(own.map(\.id)) }
    }
    return held
  }

  /// Takes shards off the end that no mirror has and whose numbers of rows are not known.
  ///
  /// Such a shard cannot be given ids, and at the end no other shard's ids depend on that.
  ///
  /// - Returns: Their names, the last first.
  private func leaveOutEnd(
    of chosen: inout [Shard], _ contents: [Int: VersionPlan.Content], of source: Source
  ) throws -> [String] {
    let nowhere = Set(try catalog.shardsWithoutMirror(of: source).map(\.id))
    let isEnd = { (shard: Shard) in
      guard shard.knownRowCount == nil, shard.likelyByteCount == nil else { return false }
      if case .hole? = contents[shard.ordinal] { return true }
      return nowhere.contains(shard.id)
    }
    var names: [String] = []
    while chosen.count > 1, let last = chosen.last, isEnd(last) {
      names.append(last.name)
      chosen.removeLast()
    }
    return names
  }

  /// The rows of a shard that are left out, and the digest of the bytes whose rows they are.
  private func excluded(
    of shard: Shard, _ content: VersionPlan.Content, _ inForce: [ContentDigest: [Int]],
    named: [ContentDigest: [Int]], of source: Source
  ) throws -> (rows: [Int], digest: ContentDigest?) {
    let digest: ContentDigest?
    switch content {
    case .bytes(let revision): digest = revision.digest
    case .toFetch(let lastSeen): digest = lastSeen?.digest ?? shard.expectedDigest
    case .hole: return ([], nil)
    }
    if let stated = options.excluded { return (stated[shard.ordinal] ?? [], digest) }
    // Rules are evaluated on whatever bytes the shard has; rows that a user named are rows of certain bytes alone.
    let rows = digest.flatMap { inForce[$0] } ?? []
    if let digest, named[digest] != nil { return (rows, digest) }
    guard let (other, named) = named.min(by: { $0.key.hex < $1.key.hex }) else { return (rows, digest) }
    throw TarnError.excludedOfOtherBytes(named.count, shard, other, source)
  }

  /// What a shard is to this build: known bytes, bytes to fetch, or a hole.
  ///
  /// A shard that every mirror refused before is a hole where holes are allowed (`tarn sync` asks again), and fetched
  /// otherwise. Other failures, such as a full disk or a host that is down, say nothing of what mirrors have.
  private func content(of shard: Shard, isEncoded: Bool, isOfNobody: Bool) -> VersionPlan.Content {
    if let holes = options.holes, holes.contains(shard.ordinal) { return .hole }
    if let revision = shard.revision, isEncoded || shard.path != nil { return .bytes(revision) }
    let wasRefused = shard.state == .absent || shard.state == .failed && isOfNobody
    guard options.fetches, !(wasRefused && options.missing == .skip && options.holes == nil) else { return .hole }
    return .toFetch(lastSeen: shard.revision)
  }
}

extension VersionPlan.Content {
  /// The same, but bytes to fetch are pinned to those that were last seen, if any were.
  fileprivate var bound: VersionPlan.Content {
    if case .toFetch(let lastSeen?) = self { .bytes(lastSeen) } else { self }
  }
}

extension LakeCatalog {
  /// The error for a shard whose number of rows mirrors were asked for in vain; nil where they were not asked yet.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - source: Its source.
  ///   - purpose: What depends on the number, for the error.
  /// - Returns: The error.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  func silence(about shard: Shard, in source: Source, for purpose: String) throws -> TarnError? {
    guard try wasAskedForRows(of: shard.id) else { return nil }
    return TarnError(
      .inputsMissing,
      "the number of rows of \(shard.name) is not known, and \(purpose); its servers have it and do not tell them",
      hint: source.wayToRows)
  }

  /// Shards that servers have without telling their numbers of rows.
  ///
  /// - Parameters:
  ///   - source: Whose shards.
  ///   - ordinals: Which of them; nil for all.
  /// - Returns: How many, and the hint that helps; nil for none.
  /// - Throws: ``TarnError`` where the catalog cannot be read.
  package func untoldRows(of source: Source, _ ordinals: OrdinalSet?) throws -> (count: Int, way: String)? {
    guard !source.isCompanion else { return nil }
    let silent = try shardsWithoutRows(of: source).filter {
      (ordinals?.contains($0.ordinal) ?? true) && (try? $0.plannedRowCount(in: source, for: "ids")) == nil
    }
    return silent.isEmpty ? nil : (silent.count, source.wayToRows)
  }
}

extension Source {
  /// How to learn the numbers of rows that servers do not tell.
  fileprivate var wayToRows: String {
    "`tarn sync \(name)` learns them of whole files, in parts with --shards and `tarn evict \(name)` between them where room "
      + "is short, or register a source with `tarn source add --sizes FILE` and lines 'NAME, BYTES, ROWS'"
  }
}

extension Shard {
  /// The number of rows of a shard: as observed, as its manifest or the beginning of its
  /// file says, or computed from its size in formats whose header has a fixed length.
  ///
  /// - Parameters:
  ///   - source: Its source.
  ///   - purpose: What depends on the number, for the error.
  /// - Returns: The rows.
  /// - Throws: ``TarnError`` `.inputsMissing` when it is not known.
  func plannedRowCount(in source: Source, for purpose: String) throws -> Int {
    if let knownRowCount { return knownRowCount }
    let format = FeatureFormat(ofFile: name)
    if let size = likelyByteCount,
      let count = format.rowCount(ofByteCount: size, dimension: source.dimension, elementType: source.elementType)
    {
      return count
    }
    throw TarnError(
      .inputsMissing, "the number of rows of \(name) is not known, and \(purpose)",
      hint: "`tarn sync \(source.name)` (with --allow-commands where a command makes it), ask its servers with "
        + "`tarn source probe \(source.name)`, or register a source with "
        + "`tarn source add --sizes FILE` and lines 'NAME, BYTES, ROWS'")
  }
}
