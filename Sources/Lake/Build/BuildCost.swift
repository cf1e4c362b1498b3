// What a build costs on a machine: time, memory and disk of each step, from the sizes of
// the version and what the machine did in a second (DESIGN 4.1b).

internal import Base
internal import Catalog
internal import Indexer
internal import Tasks

/// Shards whose rows nobody knows before who has them is asked, which is not done to tell a cost.
package struct UnknownRows: Sendable {
  /// How many shards, or pairs of them, and of how many.
  package let count: Int
  package let total: Int
  /// What the figures are of, then.
  package let told: String
}

/// The sizes of a build.
package struct BuildCost: Sendable {
  /// Rows of outputs that are not there, as far as shards' lengths tell.
  package let rowCount: Int
  /// Of those, rows that no segment has yet.
  package let rowsToEncode: Int
  /// Bytes of shards that are not in the lake and have rows to encode, where a size is known.
  package let byteCountToFetch: Int
  package let dimension: Int
  package let nlist: Int
  /// Bytes of a row's codes, those that refine included.
  package let codeByteCount: Int
  /// Shards whose rows are not among these; nil for none.
  package var unknown: UnknownRows?
  /// Whether the version is sealed already.
  package var isDone = false

  package init(
    rowCount: Int, rowsToEncode: Int, byteCountToFetch: Int, dimension: Int, nlist: Int, codeByteCount: Int
  ) {
    (self.rowCount, self.rowsToEncode, self.byteCountToFetch) = (rowCount, rowsToEncode, byteCountToFetch)
    (self.dimension, self.nlist, self.codeByteCount) = (dimension, nlist, codeByteCount)
  }

  /// A row of a segment or of an output: its codes and its id.
  private var storedByteCount: Int { codeByteCount + 8 }

  // Memory of each step, besides what goes with the trained index.
  private static let fetchingByteCount = 64 << 20
  private static let encodingByteCount = 256 << 20
  private static let segmentByteCount = 64 << 20
  private static let outputByteCount = 256 << 20

  /// Bytes of memory that a process of it takes at most, mapped files aside.
  ///
  /// - Parameters:
  ///   - trained: What it is built with.
  ///   - shardRowCount: Rows of the largest shard.
  /// - Returns: The steps' together, as they overlap.
  static func memoryByteCount(with trained: TrainedIndexRecord, shardRowCount: Int) -> Int {
    let centroids = 4 * trained.nlist * trained.dimension
    return (trained.router == nil ? 3 : 4) * centroids
      + shardRowCount.multipliedSaturated(by: 12)
      .addingSaturated(fetchingByteCount + encodingByteCount + segmentByteCount + outputByteCount)
  }

  /// Pairs of rows and lists.
  package var assignedCount: Double { Double(rowsToEncode) * Double(nlist) }

  /// The steps, in their order; they overlap, and so take no longer than their sum.
  ///
  /// - Parameter rates: What the machine does.
  /// - Returns: What each costs.
  package func steps(_ rates: MachineRates) -> [StepCost] {
    guard !isDone else { return [] }
    func storing(_ bytes: Int) -> Double? { rates.written.map { Double(bytes) / $0 + Double(bytes) / rates.hashed } }
    let centroids = 4 * nlist * dimension
    let (segments, outputs) = (rowsToEncode * storedByteCount, rowCount * storedByteCount)
    let fetching =
      byteCountToFetch == 0
      ? []
      : [
        StepCost(
          step: "fetching", seconds: nil, memoryByteCount: Self.fetchingByteCount, diskByteCount: byteCountToFetch)
      ]
    let elements = Double(rowsToEncode) * Double(dimension)
    let steps = [
      StepCost(
        step: "assigning", seconds: elements * Double(nlist) / rates.assigned,
        memoryByteCount: 3 * centroids
          + AssignmentEngine.workingByteCount(
            vectorCount: rowsToEncode, rowCount: nlist, dimension: dimension, threadCount: rates.threadCount),
        diskByteCount: 0),
      StepCost(
        step: "encoding", seconds: elements / rates.encoded, memoryByteCount: Self.encodingByteCount, diskByteCount: 0),
      StepCost(
        step: "segments", seconds: storing(segments), memoryByteCount: Self.segmentByteCount, diskByteCount: segments),
      StepCost(
        step: "outputs", seconds: storing(outputs), memoryByteCount: Self.outputByteCount,
        diskByteCount: outputs + centroids),
    ]
    // Of no rows that are known nothing follows.
    return fetching + (unknown != nil && rowCount == 0 ? steps.map(\.unknown) : steps)
  }
}

/// What a build would come to.
struct DryBuild {
  let cost: BuildCost
  /// The version that it would go on with, or make.
  let name: VersionName
  let specDigest: ContentDigest
  /// Inputs of outputs that are neither recorded nor to be had of sealed versions.
  let open: [VersionPlan.Input]
}

extension BuildRun {
  /// What the build would cost, with the checks that it makes before it works; nothing is written.
  ///
  /// - Parameter budget: Bytes of shards that the lake would hold at most; nil for as many as there are.
  /// - Returns: Its sizes.
  /// - Throws: ``TarnError``, as the build itself would before it begins.
  package func cost(within budget: Int? = nil) throws -> BuildCost {
    try dryRun(asksRoom: true, within: budget).cost
  }

  /// As ``cost()``, with what would be planned.
  ///
  /// Outputs of which older versions would lend a part are counted as written anew.
  ///
  /// - Parameters:
  ///   - asksRoom: Whether what is written is written here, and has to fit; tasks write elsewhere.
  ///   - budget: As for ``cost(within:)``.
  /// - Returns: It.
  /// - Throws: ``TarnError``.
  func dryRun(asksRoom: Bool, within budget: Int? = nil) throws -> DryBuild {
    let (record, digest, source) = try subject()
    let reuse = try OutputReuse(catalog, source, for: options, trained: digest)
    let found = try inputs(of: source, trained: digest, reuse, isDry: true)
    let plan = plan(record, digest, source, found.inputs)
    let there = try catalog.versionThere(plan)
    try requireOneNormalisation(record, digest, with: there)
    // Shards of unknown length count as none in a dry plan, so that ids behind them are not known.
    if there == nil { try tellOfOthers(record, source, found.unknown.isEmpty ? found.inputs : []) }
    let name = try there?.name ?? catalog.nextVersion(of: options.name)
    let shared = Dictionary(grouping: found.inputs, by: \.outputOrdinal).filter { reuse.hasWhole($0.value) }.keys
    let done = try Set(there.map(catalog.outputs(of:))?.map(\.ordinal) ?? []).union(shared)
    let segments = try catalog.segments(
      of: source, trained: digest, badRows: options.badRows, formatVersion: segmentFormatVersion)
    let shards = try catalog.shardsByID(of: source)
    let sizes = OutputSizes(record)
    var (rowCount, openCount, promised) = (0, 0, 0)
    var toFetch: [Shard] = []
    for input in found.inputs where !input.isHole && !done.contains(input.outputOrdinal) {
      rowCount += input.rowCount
      guard let shard = shards[input.shardID], !found.held.contains(shard.id),
        shard.revision.map({ segments[$0.digest] == nil }) ?? true
      else { continue }
      openCount += input.rowCount
      promised = promised.addingSaturated(sizes.segment(rowCount: input.rowCount))
      if shard.path == nil { toFetch.append(shard) }
    }
    let open = found.inputs.filter { !done.contains($0.outputOrdinal) }
    var whole = 0
    for own in Dictionary(grouping: open, by: \.outputOrdinal).values {
      guard let first = own.first, let last = own.last else { continue }
      let rows = own.lazy.map { $0.isHole ? 0 : $0.rowCount }.saturatedSum
      promised = promised.addingSaturated(sizes.output(rowCount: rows))
        .addingSaturated(sizes.refine(idCount: Int(last.firstID - first.firstID).addingSaturated(last.rowCount)))
      // An output without some rows is written from one that has them all, one at a time.
      if own.contains(where: { !$0.excluded.isEmpty }) { whole = max(whole, sizes.output(rowCount: rows)) }
    }
    promised = promised.addingSaturated(whole)
    let isSealed = there?.state == .sealed
    if asksRoom { try requireRoom(for: name, isSealed ? 0 : promised) }
    if let budget, !isSealed { try catalog.requireBudget(budget, for: toFetch) }
    let codec = VectorCodec(rawValue: record.codec)
    let refining = record.refine.flatMap(VectorCodec.init(rawValue:))
    let codes = [codec, refining].compactMap { $0?.codeByteCount(dimension: record.dimension) }.reduce(0, +)
    var cost = BuildCost(
      rowCount: rowCount, rowsToEncode: openCount,
      byteCountToFetch: toFetch.lazy.map { $0.likelyByteCount ?? 0 }.saturatedSum, dimension: record.dimension,
      nlist: record.nlist, codeByteCount: codes)
    if !found.unknown.isEmpty {
      cost.unknown = UnknownRows(
        count: found.unknown.count, total: found.inputs.count,
        told: "they are in no figure; `tarn source probe \(source.name)` asks for them")
    }
    cost.isDone = isSealed
    return DryBuild(
      cost: cost, name: name, specDigest: .of(plan.spec),
      open: isSealed ? [] : open.filter { !$0.isHole && !found.held.contains($0.shardID) })
  }
}
