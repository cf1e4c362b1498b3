// Outputs that a version can take over from sealed ones: as they are, or without some of their
// rows. So a version with more shards costs only what is new, and excluding rows costs only a
// rewrite of the outputs that hold them, for which no shard is needed.

internal import Base
internal import Catalog
internal import Indexer

/// The outputs of a source's sealed versions, by what they were made from.
struct OutputReuse {
  /// One input of an output.
  private struct Part: Hashable {
    let shardID: Int64
    /// Nil in a hole.
    let digest: ContentDigest?
    let firstID: Int64
    let rowCount: Int

    /// Nil where the bytes are not known yet: they may be any.
    ///
    /// An input that is not bound yet is made of those that its shard was last seen to have.
    init?(_ input: VersionInput, seen: ShardRevision? = nil) {
      let revision = input.revision ?? seen
      guard input.isHole || revision != nil else { return nil }
      shardID = input.shardID
      digest = input.isHole ? nil : revision?.digest
      (firstID, rowCount) = (input.firstID, input.rowCount)
    }

    /// The part that a planned input is; nil where its bytes are not known yet.
    init?(_ input: VersionPlan.Input) {
      switch input.content {
      case .bytes(let revision): digest = revision.digest
      case .hole: digest = nil
      case .toFetch: return nil
      }
      (shardID, firstID, rowCount) = (input.shardID, input.firstID, input.rowCount)
    }
  }

  /// An output of a sealed version.
  struct Held {
    let output: OutputShard
    /// Ids of rows of its inputs that it leaves out.
    let excluded: Set<Int64>
  }

  private var outputs: [[Part]: [Held]] = [:]

  /// Finds outputs of sealed versions whose first shard is also the first of an output of the build.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - source: The source.
  ///   - options: What is built.
  ///   - trained: Digest of the trained index.
  /// - Throws: ``TarnError``.
  init(_ catalog: LakeCatalog, _ source: Source, for options: BuildOptions, trained: ContentDigest) throws {
    // Where a document says what to make, the build is to prove that it comes out the same.
    guard options.holes == nil, options.excluded == nil else { return }
    let isExcluding = try catalog.hasExclusions(source)
    let chosen = VersionPlanner.chosen(try catalog.shards(of: source), by: options)
    let first = Set(stride(from: 0, to: chosen.count, by: options.shardsPerOutput).map { chosen[$0].id })
    let store = ArtifactStore(catalog)
    // A version shares most outputs with the one before it: each file is looked up once, for the newest version.
    var known: Set<[ContentDigest?]> = []
    for version in try catalog.versions().sorted(by: { $0.id > $1.id })
    where version.state == .sealed && version.sourceID == source.id && version.badRowsPolicy == options.badRows {
      guard try catalog.trainedIndex(id: version.trainedIndexID).digest == trained else { continue }
      // Nothing that is made here rests on files of a pulled version without need.
      guard isExcluding || !catalog.isOfElsewhere(version) else { continue }
      let shards = try catalog.firstShards(of: version)
      for output in try catalog.outputs(of: version) {
        let files = [output.digest, output.refine?.digest]
        guard let shard = shards[output.ordinal], first.contains(shard), !known.contains(files),
          try store.isThere(output)
        else { continue }
        let own = try catalog.inputs(ofOutput: output.ordinal, of: version)
        let parts = own.compactMap { Part($0) }
        guard parts.count == own.count else { continue }
        known.insert(files)
        outputs[parts, default: []].append(Held(output: output, excluded: own.excludedIDs))
      }
    }
  }

  /// The outputs that have all that inputs make, the one first that comes nearest: with the fewest rows that it must not
  /// have.
  ///
  /// - Parameters:
  ///   - inputs: All of an output.
  ///   - shards: Their shards, by number.
  /// - Returns: None where there is no such output.
  func candidates(for inputs: [VersionInput], among shards: [Int64: Shard]) -> [Held] {
    let parts = inputs.compactMap { Part($0, seen: shards[$0.shardID]?.revision) }
    guard parts.count == inputs.count, let held = outputs[parts] else { return [] }
    let wanted = inputs.excludedIDs
    return held.filter { $0.excluded.isSubset(of: wanted) }.sorted { $0.excluded.count > $1.excluded.count }
  }

  /// Whether there is no output to take over.
  var isEmpty: Bool { outputs.isEmpty }

  /// Whether the output of planned inputs is there as it is, so that nothing has to be written.
  func hasWhole(_ inputs: [VersionPlan.Input]) -> Bool {
    let wanted = inputs.excludedIDs
    return held(of: inputs).contains { $0.excluded == wanted }
  }

  /// Whether the output of planned inputs is there, perhaps with rows to leave out: then none of their shards is needed.
  func has(_ inputs: [VersionPlan.Input]) -> Bool {
    let wanted = inputs.excludedIDs
    return held(of: inputs).contains { $0.excluded.isSubset(of: wanted) }
  }

  private func held(of inputs: [VersionPlan.Input]) -> [Held] {
    let parts = inputs.compactMap { Part($0) }
    return parts.count == inputs.count ? outputs[parts] ?? [] : []
  }
}

extension [VersionPlan.Input] {
  /// Ids of rows that the version leaves out of them.
  fileprivate var excludedIDs: Set<Int64> {
    Set(flatMap { input in input.excluded.map { input.firstID + Int64($0) } })
  }
}

extension [VersionInput] {
  /// Ids of rows that the version leaves out of them.
  var excludedIDs: Set<Int64> {
    Set(flatMap { input in input.excludedRows.map { input.firstID + Int64($0) } })
  }
}

extension BuildRun {
  /// Takes over what sealed versions have of a version's outputs, without the rows that are excluded: of these no shard
  /// need be anywhere.
  ///
  /// Each file is read once, right before it is recorded or written anew. Of one that is damaged no version is sealed, and
  /// rows that must go could not go: it is left, and made of shards again.
  ///
  /// - Parameters:
  ///   - planned: What was planned.
  ///   - shards: The shards of its source, by number.
  /// - Returns: The numbers of the outputs: the files of all were read in this run.
  /// - Throws: ``TarnError`` `.diskFull` where what is written anew does not fit, `.interrupted` between files; what was
  ///   taken stays.
  func takeFromOthers(_ planned: Subject, among shards: [Int64: Shard]) throws -> Set<Int> {
    let version = planned.version
    guard version.state != .sealed, !planned.reuse.isEmpty else { return [] }
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    let inputs = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal)
    let open = inputs.filter { !done.contains($0.key) }.sorted { $0.key < $1.key }.map { ordinal, own in
      (ordinal: ordinal, inputs: own, candidates: planned.reuse.candidates(for: own, among: shards))
    }
    let anew = open.filter { share in share.candidates.first.map { $0.excluded != share.inputs.excludedIDs } ?? false }
    let byteCount = anew.compactMap { $0.candidates.first }.map { held in
      held.output.byteCount.addingSaturated(held.output.refine?.byteCount ?? 0)
    }.saturatedSum
    if byteCount > 0 { try requireRoom(for: version.name, byteCount) }
    var taken: Set<Int> = []
    for share in open {
      guard let held = try share.candidates.first(where: { try isWhole($0.output) }) else { continue }
      // Inputs that were not bound yet are now, to what is taken.
      for input in share.inputs where !input.isHole && input.revision == nil {
        guard let revision = shards[input.shardID]?.revision else { continue }
        try catalog.bind(input, of: version, to: revision)
      }
      try take(held, as: share.ordinal, of: version)
      taken.insert(share.ordinal)
    }
    return taken
  }

  /// Whether the files of an output are there and what they were; who is told of one that is not may have it mended.
  private func isWhole(_ output: OutputShard) throws -> Bool {
    try cancellation.check()
    let store = ArtifactStore(catalog)
    guard try store.isThere(output) else { return false }
    do {
      _ = try store.verified(.outputShard, output.digest)
      if let refine = output.refine { _ = try store.verified(.refineShard, refine.digest) }
      return true
    } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
      warn("\(error.message); it is not taken from there, and `tarn verify --repair` mends what it can")
      return false
    }
  }

  /// Records an output of another version as one of this one, or what is left of it without the rows that are excluded.
  ///
  /// - Parameters:
  ///   - held: The output. Its files were read just now and found right: damage must not be copied into an output that
  ///     then has a valid digest.
  ///   - ordinal: Its number here.
  ///   - version: A version that is building, with the inputs of the output bound.
  /// - Throws: ``TarnError``.
  private func take(_ held: OutputReuse.Held, as ordinal: Int, of version: IndexVersion) throws {
    let own = try catalog.inputs(ofOutput: ordinal, of: version)
    let old = held.output
    guard own.excludedIDs != held.excluded else {
      return try catalog.recordOutput(old.numbered(ordinal, own), of: version)
    }
    let store = ArtifactStore(catalog)
    let working = try store.workingPath("output-\(version.id)-\(ordinal).faiss")
    let ids = OutputTask(ordinal, of: own).bound.flatMap(\.ids)
    let file = try OutputShardFile(path: store.path(of: .outputShard, old.digest))
    let summary = try file.write(idsIn: ids, to: working) { try cancellation.check() }
    try OutputShardFile.verify(working, trained: file.trained, summary: summary, idsIn: ids)
    let refining = try store.workingPath("output-\(version.id)-\(ordinal).refine")
    let refine = try old.refine.map { refine in
      let whole = try RefineFile(path: store.path(of: .refineShard, refine.digest))
      let summary = try whole.write(ids: old.ids, keeping: ids, to: refining) { try cancellation.check() }
      try RefineFile.verify(refining, summary)
      return RefineShard(summary)
    }
    try store.put(output: working, summary.digest, refinedBy: refine.map { (refining, $0) }) {
      try catalog.recordOutput(
        OutputShard(
          ordinal: ordinal, digest: summary.digest, firstInput: old.firstInput, lastInput: old.lastInput,
          firstID: old.firstID, endID: old.endID, rowCount: summary.rowCount, byteCount: summary.byteCount,
          listsDigest: summary.listDigests.root, refine: refine
        ).numbered(ordinal, own), of: version)
    }
  }
}

extension ArtifactStore {
  /// Whether the files of an output are there, as far as their sizes tell.
  fileprivate func isThere(_ output: OutputShard) throws -> Bool {
    guard try size(of: .outputShard, output.digest) == output.byteCount else { return false }
    guard let refine = output.refine else { return true }
    return try size(of: .refineShard, refine.digest) == refine.byteCount
  }
}

extension OutputShard {
  /// The same file as an output of another version.
  fileprivate func numbered(_ ordinal: Int, _ inputs: [VersionInput]) -> OutputShard {
    OutputShard(
      ordinal: ordinal, digest: digest, firstInput: inputs.first?.ordinal ?? firstInput,
      lastInput: inputs.last?.ordinal ?? lastInput, firstID: firstID, endID: endID, rowCount: rowCount,
      byteCount: byteCount, listsDigest: listsDigest, refine: refine)
  }
}
