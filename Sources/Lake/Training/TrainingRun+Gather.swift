// The first half of `train`: from pairs of shards to two matrices of drawn rows, one
// shard after another; shards are in the lake, or come while others are read.

internal import Base
internal import Catalog
internal import Features
internal import Foundation
internal import Indexer
internal import Logging

/// The rows that were drawn from the shards of a training, and the shards that could not be read.
struct GatheredShards: Sendable {
  /// A shard on one side, as both sides may read arrays of the same file.
  struct Key: Hashable {
    let shardID: Int64
    let side: TrainingPairs.Side
  }

  var pieces: [Key: TrainingPieces.Piece] = [:]
  /// Ids of shards that no mirror has.
  var lost: Set<Int64> = []
  /// Whether a shard has another number of rows than was planned with.
  var hasOtherRows = false
}

extension TrainingRun {
  /// What a training does next.
  enum Step: Sendable {
    /// Nothing: it was finished before.
    case ready(TrainedIndexRecord)
    case gather(TrainingPlan)
  }

  /// Plans a training, or finds one that was planned or finished before.
  ///
  /// - Parameters:
  ///   - lost: Ids of shards that turned out to be on no mirror.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  /// - Returns: The plan.
  /// - Throws: ``TarnError`` `.inputsMissing` when a shard is needed that is neither
  ///   here nor fetched.
  func begin(without lost: Set<Int64>, fetches: Bool) throws -> Step {
    try begin(pairs(without: lost, fetches: fetches), fetches: fetches, isDry: false)
  }

  /// As ``begin(without:fetches:)``, for given pairs.
  ///
  /// - Parameters:
  ///   - pairs: The pairs of shards.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  ///   - isDry: Whether nothing may be written, so that a new training is not planned in the catalog, either.
  /// - Returns: The plan.
  /// - Throws: ``TarnError``.
  func begin(_ pairs: TrainingPairs, fetches: Bool, isDry: Bool) throws -> Step {
    let sample = try sample(pairs)
    let exclusions = try exclusions(pairs, isDry: isDry)
    let excluded = exclusions.rows(of: sample, pairs)
    let rows = zip(sample.rows, excluded).map { drawn, excluded -> [UInt32] in
      let out = Set(excluded)
      return out.isEmpty ? drawn : drawn.filter { !out.contains($0) }
    }
    if try catalog.findTrainedIndex(named: options.name)?.digest == nil {
      try requireRoom(pairs, count: sample.count, sample: (sample, excluded))
    }
    let trained = try planned(pairs, sample, excluded, isDry: isDry)
    if let trained, try isFinished(trained, pairs, excluded, isDry: isDry) { return .ready(trained) }
    let pieces = TrainingPieces(
      directory: catalog.layout.gatherScratch(options.name), normalisation: options.normalisation,
      badRows: options.badRows)
    let kept = trained.flatMap { GatheredPairs(in: scratch(of: $0), pairs.sides) }
    var found: [GatheredShards.Key: TrainingPieces.Piece] = [:]
    var (wanted, spent): ([Shard], [Shard]) = ([], [])
    for (place, pair) in pairs.pairs.enumerated() where kept == nil {
      for side in pairs.sides {
        guard let shard = pair.shard(side) else { continue }
        if let revision = shard.revision,
          let piece = pieces.piece(rows[place], of: revision, pairs.source(side)?.array)
        {
          found[.init(shardID: shard.id, side: side)] = piece
          if shard.path != nil { spent.append(shard) }
        } else {
          wanted.append(shard)
        }
      }
    }
    if !fetches { try requireInLake(wanted, of: pairs) }
    return .gather(
      TrainingPlan(
        pairs: pairs, sample: sample, exclusions: exclusions, excluded: excluded, rows: rows, trained: trained,
        kept: kept, pieces: pieces, found: found,
        stream: ShardStream(wanted, spent: spent)))
  }

  /// Whether a trained index is finished, with its file as it was recorded; removes what is left in scratch of its
  /// training then.
  ///
  /// - Throws: ``TarnError`` where the file is lost or damaged and cannot be trained again, as rows that it was trained
  ///   with have been excluded since.
  private func isFinished(
    _ trained: TrainedIndexRecord, _ pairs: TrainingPairs, _ excluded: [[UInt32]], isDry: Bool
  ) throws -> Bool {
    guard let digest = trained.digest else { return false }
    do {
      _ = try ArtifactStore(catalog).verified(.trainedIndex, digest)
    } catch let error as TarnError where error.code == .inputsMissing || error.code == .integrity {
      let stated = try trained.specification().leftOut
      guard zip(pairs.pairs, excluded).allSatisfy({ Set($1).isSubset(of: stated[$0.ordinal] ?? []) }) else {
        throw TarnError(
          error.code, "\(error.message), and rows that it was trained with were excluded since",
          hint: "`tarn verify --repair` makes it again as it was; a training of another name is without them")
      }
      // The same inputs give the same bytes: what was lost can be made again.
      logger.warning("\(error.message); training it again")
      return false
    }
    guard !isDry else { return true }
    // The training may have been finished under another name, and left what it gathered under this one.
    for path in [scratch(of: trained), catalog.layout.gatherScratch(options.name)] {
      try? FileManager.default.removeItem(atPath: path)
    }
    return true
  }

  /// Refuses a training that fetches nothing and lacks a shard.
  private func requireInLake(_ wanted: [Shard], of pairs: TrainingPairs) throws {
    for side in pairs.sides {
      guard let source = pairs.source(side) else { continue }
      // Where both sides read arrays of the same files, each of them is wanted twice and missing once.
      var seen: Set<Int64> = []
      let missing = wanted.filter { $0.path == nil && $0.sourceID == source.filesID && seen.insert($0.id).inserted }
      guard missing.isEmpty else {
        throw source.missing(
          missing.map(\.name), of: pairs.pairs.count,
          hint: wayToShards(source, fetches: false, hasOthers: missing.count < pairs.pairs.count))
      }
    }
  }

  /// Refuses a training that does not fit.
  ///
  /// It needs room for the drawn rows, in pieces and then in one file, for what is
  /// nearest to them, for a state of k-means beside the one that it replaces, for the lists of
  /// images where nearest ones are found in such, and for the index. What an earlier run gathered is there already.
  ///
  /// - Parameters:
  ///   - pairs: The pairs of shards.
  ///   - count: How many rows are drawn.
  ///   - sample: Which, and those of each pair that are excluded; nil where that is not known yet.
  /// - Throws: ``TarnError`` `.diskFull`.
  func requireRoom(
    _ pairs: TrainingPairs, count: Int, sample: (drawn: TrainingSample, excluded: [[UInt32]])?
  ) throws {
    let pieces = catalog.layout.gatherScratch(options.name)
    let isGathered =
      pairs.revisions.flatMap { revisions in
        guard let sample else { return false }
        let spec = definition(pairs, revisions, sample.drawn, leftOut: sample.excluded).spec
        return GatheredPairs.isBegun(in: catalog.layout.trainingScratch(.of(spec)), pairs.sides)
      } ?? false
    let rows =
      isGathered
      ? 0 : pairs.sides.compactMap(pairs.source).reduce(0) { $0 + count * $1.dimension * $1.elementType.kept.byteCount }
    let held = LakeCatalog.byteCount(below: pieces)
    let centroids = 4 * options.nlist * pairs.images.dimension
    let captionCount = options.router.method == .none ? 0 : min(options.router.captionLimit, count)
    var states = 16 * count + 2 * centroids + captionCount * (8 * pairs.images.dimension + 512)
    if pairs.captions != nil, case .index = options.nearest ?? .exact {
      let plan = ImageIndexPlan(imageCount: count)
      states += 4 * pairs.images.dimension * (plan.sampleCount + 2 * plan.nlist) + 4 * count
    }
    var found = options.method == .paired ? NearestImages.byteCount(captionCount: count) : 0
    if options.router.method != .none {
      let queryCount = options.router.method.isTrained ? 2 * captionCount : captionCount
      found += RouterLabels.byteCount(queryCount: queryCount, imageCount: count)
    }
    try catalog.requireRoom(
      for: "the training of \(options.name)",
      [
        RoomNeed(at: pieces, byteCount: max(0, 2 * rows - held) + states),
        RoomNeed(at: catalog.layout.artifacts, byteCount: found + 2 * centroids),
      ])
  }

  /// The row of a training whose bytes are all known.
  ///
  /// - Returns: Its row; nil while some shard was never seen.
  /// - Throws: ``TarnError`` `.conflict` when the name means something else.
  private func planned(
    _ pairs: TrainingPairs, _ sample: TrainingSample, _ excluded: [[UInt32]], isDry: Bool
  ) throws -> TrainedIndexRecord? {
    let existing = try catalog.findTrainedIndex(named: options.name)
    if let existing { try requireSameOptions(as: existing, pairs, pairCount: sample.count, isDry: isDry) }
    guard let revisions = pairs.revisions else {
      // One that is ready was made from shards that were seen.
      if let existing, existing.state == .ready { throw catalog.otherTraining(options.name) }
      return nil
    }
    if let existing,
      let found = begun(
        existing, excluded, pairs, isDry: isDry, again: { self.definition(pairs, revisions, sample, leftOut: $0) })
    {
      return try isDry ? found : catalog.takeFinished(found)
    }
    let definition = definition(pairs, revisions, sample, leftOut: excluded)
    return try isDry ? catalog.trainingThere(definition) : planTraining(definition)
  }

  /// Takes the drawn rows out of every shard that the handoff gives.
  ///
  /// - Parameters:
  ///   - plan: What ``begin(without:fetches:)`` gave.
  ///   - onRelease: Told that a shard's bytes are not needed any more.
  /// - Returns: What became of each shard.
  /// - Throws: ``TarnError``, what the handoff was failed with.
  func gather(_ plan: TrainingPlan, _ onRelease: @Sendable () -> Void) throws -> GatheredShards {
    var places: [Int64: (place: Int, readers: [(side: TrainingPairs.Side, source: Source)])] = [:]
    var total = 0
    for (place, pair) in plan.pairs.pairs.enumerated() {
      for side in plan.pairs.sides {
        guard let shard = pair.shard(side), let source = plan.pairs.source(side) else { continue }
        places[shard.id, default: (place, [])].readers.append((side, source))
        total += 1
      }
    }
    var result = GatheredShards(pieces: plan.found)
    var lostPlaces: Set<Int> = []
    var done = plan.found.count
    while let item = try plan.stream.handoff.next() {
      try cancellation.check()
      switch item {
      case .lost(let id, let error):
        // A full disk, or a host that may come back, takes no pair out of a training.
        guard options.missing == .skip, (error as? TarnError)?.leavesNothingToAsk == true else { throw error }
        result.lost.insert(id)
        if let place = places[id]?.place { lostPlaces.insert(place) }
      case .ready(let id):
        let shard = try catalog.shard(id: id)
        guard let (place, readers) = places[id], let path = shard.path, let revision = shard.revision else {
          preconditionFailure("the handoff has a shard that is not here, or of another training")
        }
        if revision.rowCount != plan.pairs.pairs[place].rowCount {
          result.hasOtherRows = true
        } else if !lostPlaces.contains(place) {
          // Of one file both sides at once, so that both are of the same bytes.
          for (side, source) in readers {
            let file = try source.pinned(path, revision, in: catalog).open()
            let key = GatheredShards.Key(shardID: id, side: side)
            if result.pieces[key]?.revision.digest != revision.digest { done += 1 }
            result.pieces[key] = try plan.pieces.make(plan.rows[place], of: file, revision, source.array)
          }
        }
        plan.stream.handoff.release(id)
        onRelease()
      }
      report(.gathering(done: min(done, total), total: total))
    }
    return result
  }

  /// Puts the pieces together and trains.
  ///
  /// - Parameters:
  ///   - plan: What ``begin(without:fetches:)`` gave.
  ///   - found: What ``gather(_:_:)`` gave.
  /// - Returns: The trained index, ready, and whether this run made it; nil when other
  ///   pairs have to be drawn.
  /// - Throws: ``TarnError``; what is done is kept.
  func conclude(_ plan: TrainingPlan, _ found: GatheredShards) throws -> (trained: TrainedIndexRecord, isNew: Bool)? {
    guard found.lost.isEmpty, !found.hasOtherRows else { return nil }
    // To gather takes days, and whoever excluded rows meanwhile was told that no training draws them.
    let exclusions = options.leftOut == nil ? try exclusions(plan.pairs, isDry: false) : plan.exclusions
    if let kept = plan.kept, let trained = plan.trained {
      guard plan.pairs.revisions.map({ plan.isWithout(exclusions, $0) }) ?? true else { return nil }
      return try finish(trained, kept, plan.pieces)
    }
    var revisions: [TrainingPairs.Revisions] = []
    var leftOut: [[UInt32]] = []
    var sides = plan.pairs.sides.compactMap { side in
      plan.pairs.source(side).map { (side: side, source: $0, pieces: [TrainingPieces.Piece]()) }
    }
    for pair in plan.pairs.pairs {
      var bad: Set<UInt32> = []
      var (image, caption): (ShardRevision?, ShardRevision?)
      for (place, side) in plan.pairs.sides.enumerated() {
        guard let piece = pair.shard(side).flatMap({ found.pieces[.init(shardID: $0.id, side: side)] }) else {
          preconditionFailure("a shard was not gathered")
        }
        sides[place].pieces.append(piece)
        bad.formUnion(piece.badRows)
        if side == .image { image = piece.revision } else { caption = piece.revision }
      }
      guard let image else { preconditionFailure("a pair has no image") }
      revisions.append(.init(image: image, caption: caption))
      leftOut.append(bad.sorted())
    }
    // What came may have other bytes than those whose rows were left out, or be the first that anybody has seen.
    guard plan.isWithout(exclusions, revisions) else { return nil }
    let all = zip(leftOut, plan.excluded).map { bad, excluded in excluded.isEmpty ? bad : (bad + excluded).sorted() }
    let leftOutCount = all.reduce(0) { $0 + $1.count }
    guard options.nlist <= plan.sample.count - leftOutCount else {
      throw TarnError(
        .unfit,
        "nlist is \(options.nlist), and of \(plan.sample.count) training rows \(leftOutCount) are bad or excluded and left out",
        hint: Self.way(drawn: plan.sample.count, of: plan.pairs.rowCounts.saturatedSum))
    }
    let definition = definition(plan.pairs, revisions, plan.sample, leftOut: all)
    let scratch = catalog.layout.trainingScratch(.of(definition.spec))
    let rows = try GatheredPairs(
      sides, drawn: plan.rows, leftOut: leftOut, options.normalisation, in: scratch,
      checkpoint: { try cancellation.check() })
    if options.leftOut == nil, try !plan.isWithout(lakesExclusions(plan.pairs), revisions) {
      try? FileManager.default.removeItem(atPath: scratch)
      return nil
    }
    return try finish(try planTraining(definition), rows, plan.pieces)
  }

  /// Trains on rows that are gathered, and whose plan says so: the pieces may go.
  private func finish(
    _ trained: TrainedIndexRecord, _ rows: GatheredPairs, _ pieces: TrainingPieces
  ) throws -> (trained: TrainedIndexRecord, isNew: Bool) {
    pieces.remove()
    guard let digest = trained.digest else { return (try train(trained, rows), true) }
    let store = ArtifactStore(catalog)
    if (try? store.verified(.trainedIndex, digest)) != nil {
      try? FileManager.default.removeItem(atPath: scratch(of: trained))
      return (trained, false)
    }
    let again = try train(trained, rows)
    _ = try store.verified(.trainedIndex, digest)
    return (again, false)
  }
}

extension TrainingPlan {
  /// Whether what must not be drawn of some bytes is what the plan leaves out.
  fileprivate func isWithout(_ exclusions: TrainingExclusions, _ revisions: [TrainingPairs.Revisions]) -> Bool {
    pairs.pairs.indices.allSatisfy { number in
      exclusions.rows(
        of: sample.rows[number], pairs.pairs[number], image: revisions[number].image.digest,
        caption: revisions[number].caption?.digest) == excluded[number]
    }
  }
}
