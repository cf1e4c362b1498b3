// Outputs that a version can have from sealed ones: as they are, or less some of their rows.
// So a version of more shards costs what is new alone, and rows that must go cost a rewriting of
// the outputs that hold them, without the shards.

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
    init?(_ input: VersionInput) {
      guard input.isHole || input.revision != nil else { return nil }
      shardID = input.shardID
      digest = input.isHole ? nil : input.revision?.digest
      (firstID, rowCount) = (input.firstID, input.rowCount)
    }

    /// Likewise.
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
    /// Ids that it does not have of those that its inputs have.
    let excluded: Set<Int64>
  }

  private var outputs: [[Part]: [Held]] = [:]

  /// Looks through the sealed versions of a source, for outputs that begin with a shard that one of a build would.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - source: The source.
  ///   - options: What is built.
  ///   - trained: Digest of the trained index.
  ///   - isSharing: Whether those of this lake are taken as they are, too, where nothing of the source is excluded.
  /// - Throws: ``TarnError``.
  init(
    _ catalog: LakeCatalog, _ source: Source, for options: BuildOptions, trained: ContentDigest, isSharing: Bool
  ) throws {
    let isExcluding = try catalog.hasExclusions(source)
    guard isSharing || isExcluding else { return }
    let chosen = VersionPlanner.chosen(try catalog.shards(of: source), by: options)
    let first = Set(stride(from: 0, to: chosen.count, by: options.shardsPerOutput).map { chosen[$0].id })
    let store = ArtifactStore(catalog)
    // Versions share most outputs with the one before: what is known of a file is read once, as the newest says it.
    var known: Set<[ContentDigest?]> = []
    for version in try catalog.versions().sorted(by: { $0.id > $1.id })
    where version.state == .sealed && version.sourceID == source.id && version.badRowsPolicy == options.badRows {
      guard try catalog.trainedIndex(id: version.trainedIndexID).digest == trained else { continue }
      // What others made is no word of this lake's: without need nothing that is made here rests on it.
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

  /// The output that comes nearest to what inputs make: with the fewest rows that it must not have.
  func output(of inputs: [VersionInput]) -> Held? {
    let parts = inputs.compactMap { Part($0) }
    guard parts.count == inputs.count else { return nil }
    let wanted = inputs.excludedIDs
    return outputs[parts]?.filter { $0.excluded.isSubset(of: wanted) }
      .max { $0.excluded.count < $1.excluded.count }
  }

  /// Whether there is nothing to have.
  var isEmpty: Bool { outputs.isEmpty }

  /// Whether what planned inputs make is there as it is, so that nothing is written.
  func hasWhole(_ inputs: [VersionPlan.Input]) -> Bool {
    let wanted = inputs.excludedIDs
    return held(of: inputs).contains { $0.excluded == wanted }
  }

  /// Whether what planned inputs make is there, maybe with rows that must go: then no shard of theirs need be here.
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
  /// The outputs that a version lacks and that others have, by their number.
  func outputs(of reuse: OutputReuse, for version: IndexVersion) throws -> [Int: OutputReuse.Held] {
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    let inputs = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal)
    let store = ArtifactStore(catalog)
    return try inputs.filter { !done.contains($0.key) }.compactMapValues { own in
      guard let held = reuse.output(of: own), try store.isThere(held.output) else { return nil }
      return held
    }
  }

  /// Takes outputs from other versions, without the rows that must go.
  ///
  /// - Parameters:
  ///   - outputs: What ``outputs(of:for:)`` gave.
  ///   - version: A version that is building.
  /// - Returns: Numbers of those that were written, and read back.
  /// - Throws: ``TarnError`` `.integrity` when one is damaged.
  func reuse(_ outputs: [Int: OutputReuse.Held], for version: IndexVersion) throws -> Set<Int> {
    guard !outputs.isEmpty else { return [] }
    let store = ArtifactStore(catalog)
    let inputs = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal)
    var written: Set<Int> = []
    for (ordinal, held) in outputs.sorted(by: { $0.key < $1.key }) {
      try cancellation.check()
      let own = inputs[ordinal] ?? []
      let (old, wanted) = (held.output, own.excludedIDs)
      guard wanted != held.excluded else {
        try catalog.recordOutput(old.numbered(ordinal, own), of: version)
        continue
      }
      // What is damaged in it must not become a good output of another digest.
      let path = try store.verified(.outputShard, old.digest)
      let working = try store.workingPath("output-\(version.id)-\(ordinal).faiss")
      let ids = OutputTask(ordinal, of: own).bound.flatMap(\.ids)
      let file = try OutputShardFile(path: path)
      let summary = try file.write(idsIn: ids, to: working) { try cancellation.check() }
      try OutputShardFile.verify(working, trained: file.trained, summary: summary, idsIn: ids)
      let refining = try store.workingPath("output-\(version.id)-\(ordinal).refine")
      let refine = try old.refine.map { old in
        let whole = try RefineFile(path: store.verified(.refineShard, old.digest))
        let summary = try whole.write(ids: held.output.ids, keeping: ids, to: refining) { try cancellation.check() }
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
      written.insert(ordinal)
    }
    return written
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
  /// As an output of another version, of the same inputs.
  fileprivate func numbered(_ ordinal: Int, _ inputs: [VersionInput]) -> OutputShard {
    OutputShard(
      ordinal: ordinal, digest: digest, firstInput: inputs.first?.ordinal ?? firstInput,
      lastInput: inputs.last?.ordinal ?? lastInput, firstID: firstID, endID: endID, rowCount: rowCount,
      byteCount: byteCount, listsDigest: listsDigest, refine: refine)
  }
}
