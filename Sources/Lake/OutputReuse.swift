// Outputs that a version can have from sealed ones: as they are, or less some of their rows.
// So rows that must go cost a rewriting of the outputs that hold them, without the shards.

internal import Base
internal import Catalog
internal import Indexer

/// The outputs of a source's sealed versions, by what they were made from.
///
/// Asked only of a source with exclusions: everything else builds as it ever did.
struct OutputReuse {
  /// One input of an output.
  private struct Part: Hashable {
    let shardID: Int64
    /// Nil in a hole.
    let digest: ContentDigest?
    let firstID: Int64
    let rowCount: Int

    init(_ input: VersionInput) {
      shardID = input.shardID
      digest = input.isHole ? nil : input.revision?.digest
      (firstID, rowCount) = (input.firstID, input.rowCount)
    }
  }

  /// An output of a sealed version.
  struct Held {
    let output: OutputShard
    /// Ids that it does not have of those that its inputs have.
    let excluded: Set<Int64>
  }

  private var outputs: [[Part]: [Held]] = [:]

  /// Looks through the sealed versions of a source.
  ///
  /// - Parameters:
  ///   - catalog: The lake.
  ///   - source: The source.
  ///   - trained: Digest of the trained index.
  ///   - badRows: What was done about bad rows.
  /// - Throws: ``TarnError``.
  init(_ catalog: LakeCatalog, _ source: Source, trained: ContentDigest, badRows: BadRowsPolicy) throws {
    guard try catalog.hasExclusions(source) else { return }
    for version in try catalog.versions()
    where version.state == .sealed && version.sourceID == source.id && version.badRowsPolicy == badRows {
      guard try catalog.trainedIndex(id: version.trainedIndexID).digest == trained else { continue }
      let inputs = Dictionary(grouping: try catalog.inputs(of: version), by: \.outputOrdinal)
      for output in try catalog.outputs(of: version) {
        let own = inputs[output.ordinal] ?? []
        outputs[own.map(Part.init), default: []].append(Held(output: output, excluded: own.excludedIDs))
      }
    }
  }

  /// The output that comes nearest to what inputs make: with the fewest rows that it must not have.
  func output(of inputs: [VersionInput]) -> Held? {
    let wanted = inputs.excludedIDs
    return outputs[inputs.map(Part.init)]?.filter { $0.excluded.isSubset(of: wanted) }
      .max { $0.excluded.count < $1.excluded.count }
  }

  /// The shards whose rows are in outputs of the same shards, so that they need not be here.
  ///
  /// - Parameters:
  ///   - chosen: The shards of a build, in order.
  ///   - count: Shards of an output.
  /// - Returns: Their numbers.
  func shardsHeld(_ chosen: [Shard], shardsPerOutput count: Int) -> Set<Int64> {
    guard !outputs.isEmpty else { return [] }
    struct Bytes: Hashable {
      let shardID: Int64
      let digest: ContentDigest?
    }
    let held = Set(outputs.keys.map { $0.map { Bytes(shardID: $0.shardID, digest: $0.digest) } })
    var found: Set<Int64> = []
    for start in stride(from: 0, to: chosen.count, by: count) {
      let own = chosen[start..<min(start + count, chosen.count)]
      guard held.contains(own.map { Bytes(shardID: $0.id, digest: $0.revision?.digest) }) else { continue }
      found.formUnion(own.map(\.id))
    }
    return found
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
      guard let held = reuse.output(of: own),
        try store.size(of: .outputShard, held.output.digest) == held.output.byteCount,
        try held.output.refine.map({ try store.size(of: .refineShard, $0.digest) == $0.byteCount }) ?? true
      else { return nil }
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

extension OutputShard {
  /// As an output of another version, of the same inputs.
  fileprivate func numbered(_ ordinal: Int, _ inputs: [VersionInput]) -> OutputShard {
    OutputShard(
      ordinal: ordinal, digest: digest, firstInput: inputs.first?.ordinal ?? firstInput,
      lastInput: inputs.last?.ordinal ?? lastInput, firstID: firstID, endID: endID, rowCount: rowCount,
      byteCount: byteCount, listsDigest: listsDigest, refine: refine)
  }
}
