// The ground truth of `evaluate`: exact neighbours over the shards of a version, one
// shard after another, in whatever order they come. What was found is kept in scratch
// before a shard may leave the lake, so that a killed run does not want it again.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Indexer

/// The exact neighbours that an evaluation needs, and what is still to be read.
struct TruthPlan: Sendable {
  let version: IndexVersion
  let source: Source
  /// Digest of what they are of.
  let key: ContentDigest
  /// The shards they are among, in order.
  let inputs: [VersionInput]
  /// Places of those in the source; nil where it is all that the version has.
  let sample: [Int]?
  let normalisation: Normalisation
  /// Their file, from an earlier evaluation.
  let known: ContentDigest?
  /// What an interrupted run found.
  let begun: ExactNeighbors
  /// Numbers of the inputs in it.
  let done: Set<UInt32>
  /// The shards of the others.
  let stream: ShardStream
  let fetches: Bool

  /// Where an interrupted run keeps what it found of a key.
  static func statePath(of key: ContentDigest, in layout: LakeLayout) -> String {
    "\(layout.scratch)/exact-\(key.prefix(16)).state"
  }
}

extension EvaluationRun {
  /// Plans the ground truth of a version.
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  /// - Returns: The plan.
  /// - Throws: ``TarnError`` `.inputsMissing` for a shard that is neither here nor
  ///   fetched, nor to be done without.
  func truthPlan(of version: IndexVersion, fetches: Bool) throws -> TruthPlan {
    let isAdopted = try catalog.source(id: version.sourceID).isAdopted
    guard isAdopted || options.source == nil && options.truth == nil else {
      throw TarnError(
        .usage, "--source and --truth are for versions that were adopted; \(version.name) names its own inputs",
        hint: "leave them out")
    }
    guard !isAdopted || options.missing == .fail else {
      throw TarnError(
        .usage, "--missing skip needs to know what rows were made from, and \(version.name) was adopted",
        hint: "sync its source, or give the exact neighbours with --truth")
    }
    if let path = options.truth { return try given(path, version) }
    let whole = try plan(version, sample: nil, fetches: fetches)
    if whole.known != nil { return whole }
    let source = whole.source
    let shards = try catalog.shardsByID(of: source)
    let open = whole.inputs.filter { !whole.done.contains(UInt32($0.ordinal)) }
    // Other bytes in their place are not given up for these.
    let missing = open.filter { $0.path == nil && !(fetches && shards[$0.shardID]?.state != .present) }
    guard !missing.isEmpty else { return whole }
    let here = whole.inputs.filter { $0.path != nil }
    guard options.missing == .skip, !here.isEmpty else {
      let hint =
        if fetches || missing.contains(where: { !$0.isNewest }) {
          Source.wayBack(to: source.name)
        } else {
          "`tarn sync \(source.name)`, or fetch them meanwhile with --fetch or --budget"
            + (here.isEmpty ? "" : ", or measure over the shards that are here with --missing skip")
        }
      throw source.missing(missing.map(\.shardName), of: whole.inputs.count, hint: hint)
    }
    return try plan(version, sample: here.map(\.shardOrdinal), fetches: fetches)
  }

  private func plan(_ version: IndexVersion, sample: [Int]?, fetches: Bool) throws -> TruthPlan {
    let (source, whole) = try catalog.rows(
      of: version, claimedOf: options.source, for: "evaluation compares with them",
      hint: "name their source with --source, or a file of the exact neighbours with --truth")
    let sampled = sample.map { Set($0) }
    let inputs = whole.filter { input in !input.isHole && (sampled?.contains(input.shardOrdinal) ?? true) }
    if let unseen = inputs.first(where: { $0.revision == nil }) {
      throw source.missing([unseen.shardName], of: inputs.count)
    }
    let normalisation = try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
    let key = LakeCatalog.truthKey(
      queries: queriesDigest, k: options.k, badRows: version.badRowsPolicy, among: inputs,
      array: source.array, normalisation: normalisation.rawValue)
    let known = try catalog.nearestImages(of: key).flatMap { digest in
      (try? store.verified(.evaluationTruth, digest)).map { _ in digest }
    }
    var begun = try ExactNeighbors(queries: queries.matrix, k: options.k)
    var done: Set<UInt32> = []
    let state = TruthPlan.statePath(of: key, in: catalog.layout)
    if known == nil, Disk.size(of: state) != nil {
      do {
        done = Set(try begun.loadState(state, inputs: key))
      } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
        // What cannot be used begins anew; what cannot be read is not thrown away.
      }
    }
    let shards = try catalog.shardsByID(of: source)
    let open = known == nil ? inputs.filter { !done.contains(UInt32($0.ordinal)) } : []
    let openOrdinals = Set(open.map(\.ordinal))
    let spent = inputs.filter { $0.path != nil && $0.isNewest && !openOrdinals.contains($0.ordinal) }
    var digests: [Int64: ContentDigest] = [:]
    for input in open { digests[input.shardID] = input.revision?.digest }
    return TruthPlan(
      version: version, source: source, key: key, inputs: inputs, sample: sample, normalisation: normalisation,
      known: known, begun: begun, done: done,
      stream: ShardStream(
        open.compactMap { shards[$0.shardID] }, ready: Set(open.filter { $0.path != nil }.map(\.shardID)),
        spent: fetches ? spent.compactMap { shards[$0.shardID] } : [], digests: digests), fetches: fetches)
  }

  /// The plan where a file has the neighbours.
  private func given(_ path: String, _ version: IndexVersion) throws -> TruthPlan {
    let digest = try Disk.digest(of: path)
    let key = ContentDigest.of(
      JSONValue.object([
        "format": .string("given-neighbours-1"), "queries": .string(queriesDigest.hex), "k": .count(options.k),
        "truth": .string(digest.hex),
      ]).text)
    var truth = try ExactNeighbors(queries: queries.matrix, k: options.k)
    let end = try catalog.outputs(of: version).map(\.endID).max() ?? 0
    try truth.take(given: GivenNeighbors(path), below: end, of: "\(version.name)")
    guard try Disk.digest(of: path) == digest else {
      throw TarnError(.integrity, "\(path) changed while it was read", hint: "wait until nothing writes to it")
    }
    return TruthPlan(
      version: version, source: try catalog.source(id: version.sourceID), key: key, inputs: [], sample: nil,
      normalisation: .refuse, known: nil, begun: truth, done: [], stream: ShardStream([]), fetches: false)
  }

  /// The exact neighbours of the queries, from an earlier evaluation where there was
  /// one.
  ///
  /// - Parameters:
  ///   - plan: What ``truthPlan(of:fetches:)`` gave.
  ///   - onRelease: Told that a shard's bytes are not needed any more.
  /// - Returns: The neighbours and the digest of their file.
  /// - Throws: ``TarnError``, what the handoff was failed with.
  func groundTruth(
    _ plan: TruthPlan, _ onRelease: @Sendable () -> Void
  ) throws -> (truth: ExactNeighbors, digest: ContentDigest) {
    var truth = plan.begun
    if let known = plan.known {
      try truth.load(store.verified(.evaluationTruth, known), inputs: plan.key)
      return (truth, known)
    }
    try catalog.requireRoom(
      for: "the exact neighbours of the queries",
      [
        RoomNeed(
          at: catalog.layout.artifacts,
          byteCount: ExactNeighbors.byteCount(queryCount: queries.rowCount, k: options.k))
      ])
    let byShard = Dictionary(uniqueKeysWithValues: plan.inputs.map { ($0.shardID, $0) })
    let rows = plan.inputs.reduce(0) { $0 + $1.rowCount }
    var done = plan.done
    var rowsDone = plan.inputs.reduce(0) { $0 + (done.contains(UInt32($1.ordinal)) ? $1.rowCount : 0) }
    let state = TruthPlan.statePath(of: plan.key, in: catalog.layout)
    var saved = ContinuousClock.now
    while let item = try plan.stream.handoff.next() {
      try cancellation.check()
      guard case .ready(let id) = item else {
        if case .lost(_, let error) = item { throw error }
        continue
      }
      guard let input = byShard[id], let revision = input.revision else {
        preconditionFailure("the handoff has a shard that the version has not")
      }
      guard let path = try catalog.shardPath(holding: revision.digest) else {
        throw plan.source.missing([input.shardName], of: plan.inputs.count)
      }
      let file = try plan.source.pinned(path, revision, in: catalog).open()
      file.matrix.advise(.sequential)
      let before = rowsDone
      func add(to neighbours: inout ExactNeighbors) throws {
        try neighbours.add(file.matrix, firstID: input.firstID, without: input.excludedRows, plan.normalisation) {
          try cancellation.check()
          report(.exact(rowsDone: before + $0, rows: rows))
        }
      }
      // In order of their ids rows are added at once, which knows what to beat.
      if done.allSatisfy({ $0 < input.ordinal }) {
        try add(to: &truth)
      } else {
        var part = try ExactNeighbors(queries: queries.matrix, k: options.k)
        try add(to: &part)
        truth.merge(part)
      }
      done.insert(UInt32(input.ordinal))
      rowsDone += input.rowCount
      if !plan.stream.toFetch.isEmpty || ContinuousClock.now - saved > .seconds(30) {
        try Disk.makeDirectory(catalog.layout.scratch)
        try truth.saveState(as: state, inputs: plan.key, done: done.sorted())
        saved = .now
      }
      plan.stream.handoff.release(id)
      onRelease()
    }
    let working = try store.workingPath("exact-\(plan.key.prefix(16))")
    let digest = try truth.save(as: working, inputs: plan.key)
    let byteCount = Disk.size(of: working) ?? 0
    try store.put(working, as: .evaluationTruth, digest) {
      try catalog.recordNearest(
        .evaluationTruth, of: plan.key, digest: digest, byteCount: byteCount, pairCount: queries.rowCount)
    }
    try Disk.remove(state)
    return (truth, digest)
  }
}
