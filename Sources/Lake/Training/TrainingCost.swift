// What a training costs on a machine: time, memory and disk of each step, from the sizes
// of the training and what the machine did in a second (DESIGN 4.1b).

internal import Base
internal import Catalog
internal import Features
package import Indexer
package import Tasks

/// What a step costs, about.
package struct StepCost: Sendable, Equatable {
  package let step: String
  /// Nil where the machine was not measured for it.
  package let seconds: Double?
  /// Memory of the process that is no mapped file, at most.
  package let memoryByteCount: Int
  /// Room that it takes on the lake's file system, until the training is done; nil where nothing is known that it
  /// follows from, nor what time.
  package let diskByteCount: Int?

  /// The step where the sizes are not known.
  var unknown: StepCost {
    StepCost(step: step, seconds: nil, memoryByteCount: memoryByteCount, diskByteCount: nil)
  }
}

/// The sizes of a training.
package struct TrainingCost: Sendable {
  /// Training pairs, and elements of a row.
  package let pairCount: Int
  package let dimension: Int
  /// Bytes of a gathered row, of all sides together.
  package let rowByteCount: Int
  package let nlist: Int
  package let iterations: Int
  package let isPaired: Bool
  package let nearest: NearestMethod
  package let router: RouterOptions
  /// Pairs of shards whose rows nobody knows; nil for none.
  package var unknown: UnknownRows?
  /// Whether the index is trained already.
  package var isDone = false
  /// Whether lists of both kinds are tried with queries first.
  package var triesLists = false
  /// Memory in which the ranges of codes are learnt, those that refine among them; 0 for codes without.
  package var rangesByteCount = 0

  package init(
    pairCount: Int, dimension: Int, rowByteCount: Int, nlist: Int, iterations: Int, isPaired: Bool,
    nearest: NearestMethod, router: RouterOptions
  ) {
    (self.pairCount, self.dimension, self.rowByteCount) = (pairCount, dimension, rowByteCount)
    (self.nlist, self.iterations, self.isPaired) = (nlist, iterations, isPaired)
    (self.nearest, self.router) = (nearest, router)
  }

  /// Images that the exact search prepares at a time.
  private static let tile = 65_536
  /// Captions whose agreement with the exact search is measured.
  private static let sampled = 1000

  /// Pairs of vectors and rows of the largest assignment to rows that are prepared once.
  package var assignedCount: Double {
    let rows = nearest == .exact ? min(pairCount, Self.tile) : ImageIndexPlan(imageCount: pairCount).nlist
    return Double(pairCount) * Double(isPaired ? max(nlist, rows) : nlist)
  }

  /// Scales what was measured.
  ///
  /// - Parameter rates: What the machine does.
  /// - Returns: What each costs.
  package func steps(_ rates: MachineRates) -> [StepCost] {
    guard !isDone else { return [] }
    var steps = [gathering(rates)]
    if triesLists { steps.append(trial(rates)) }
    if isPaired { steps += search("nearest images", of: pairCount, isFirst: true, rates) }
    steps.append(clustering("k-means", iterations, rates))
    if router.method != .none {
      if isPaired, router.refinements > 0 { steps.append(clustering("refinements", router.refinements, rates)) }
      let captions = min(router.captionLimit, pairCount)
      let queries = router.method.isTrained ? 2 * captions : captions
      steps += search("router labels", of: queries, isFirst: !isPaired, rates)
      if router.method.isTrained { steps.append(epochs(of: queries, rates)) }
    }
    if rangesByteCount > 0 { steps.append(ranges(rates)) }
    return steps
  }

  /// Bytes of so many rows in float32.
  private func floats(_ rows: Int) -> Int { 4 * rows * dimension }

  /// Seconds for so many products of elements.
  private func seconds(_ vectors: Int, _ rows: Int, _ rate: Double) -> Double {
    Double(vectors) * Double(rows) * Double(dimension) / rate
  }

  /// What the threads of a search hold.
  private func working(_ vectors: Int, _ rows: Int, _ rates: MachineRates) -> Int {
    AssignmentEngine.workingByteCount(
      vectorCount: vectors, rowCount: rows, dimension: dimension, threadCount: rates.threadCount)
  }

  /// Drawn rows are hashed and written twice: in pieces and in one file.
  private func gathering(_ rates: MachineRates) -> StepCost {
    let bytes = pairCount * rowByteCount
    return StepCost(
      step: "gathering", seconds: rates.written.map { 2 * Double(bytes) / $0 + 2 * Double(bytes) / rates.hashed },
      memoryByteCount: 64 << 20, diskByteCount: 2 * bytes)
  }

  /// Nearest images of the captions, exact neighbours of the queries, and k-means of both kinds.
  private func trial(_ rates: MachineRates) -> StepCost {
    let pairs = min(pairCount, ListTrial.mostPairs)
    let refinements = router.method == .none ? 0 : router.refinements
    let lists = (2 * (ListTrial.iterations + 1) + refinements) * ListTrial.count(of: nlist)
    return StepCost(
      step: "trial of lists",
      seconds: seconds(pairs, pairs + lists, rates.assigned) + seconds(ListTrial.mostQueries, pairs, rates.compared),
      memoryByteCount: 3 * floats(pairs) + floats(2 * ListTrial.mostLists) + working(pairs, pairs, rates),
      diskByteCount: 0)
  }

  private func search(_ step: String, of queries: Int, isFirst: Bool, _ rates: MachineRates) -> [StepCost] {
    let kept = 12 * queries * (isFirst && isPaired ? 1 : min(RouterTraining.labelCount, pairCount))
    let several = step == "router labels"
    guard case .index = nearest else {
      return [
        StepCost(
          step: step, seconds: seconds(queries, pairCount, several ? rates.compared : rates.assigned),
          memoryByteCount: kept
            + (several
              ? floats(8192)
              : 2 * floats(min(Self.tile, pairCount)) + working(queries, min(Self.tile, pairCount), rates)),
          diskByteCount: kept)
      ]
    }
    let plan = ImageIndexPlan(imageCount: pairCount)
    // Lists are narrower than the rows that the rate is of: about half of it is reached, and a tile of images and
    // the pairs of queries and lists are held.
    let probing = StepCost(
      step: step,
      seconds: seconds(
        queries, nearest.comparisons(imageCount: pairCount), several ? rates.compared : rates.assigned / 2),
      memoryByteCount: kept + 8 * pairCount + floats(plan.nlist)
        + (several ? 160 << 20 : min(3 * floats(pairCount) / 2, 3 << 29) + min(256 * queries, 512 << 20)),
      diskByteCount: kept)
    guard isFirst else { return [probing] }
    let listing = seconds(ImageIndexPlan.iterations * plan.sampleCount + pairCount, plan.nlist, rates.assigned)
    let lists = StepCost(
      step: "lists of images", seconds: listing,
      memoryByteCount: 2 * floats(plan.nlist) + 8 * pairCount + working(pairCount, plan.nlist, rates),
      diskByteCount: plan.sampleCount * rowByteCount + 2 * floats(plan.nlist) + 4 * pairCount)
    guard isPaired else { return [lists, probing] }
    let agreement = StepCost(
      step: "agreement", seconds: seconds(min(Self.sampled, queries), pairCount, rates.compared),
      memoryByteCount: kept + floats(min(Self.tile, pairCount)), diskByteCount: 0)
    return [lists, probing, agreement]
  }

  /// Every image, or every distinct nearest one, to a centroid; once an iteration.
  private func clustering(_ step: String, _ iterations: Int, _ rates: MachineRates) -> StepCost {
    StepCost(
      step: step, seconds: Double(iterations) * seconds(pairCount, nlist, rates.assigned),
      // Centroids, what is prepared of them, and cells by row.
      memoryByteCount: 3 * floats(nlist) + 24 * pairCount + working(pairCount, nlist, rates),
      diskByteCount: 2 * (floats(nlist) + 4 * pairCount))
  }

  /// Every image is looked at once, by one thread, for the ranges of its codes: about as long as encoding takes.
  private func ranges(_ rates: MachineRates) -> StepCost {
    StepCost(
      step: "ranges", seconds: Double(pairCount) * Double(dimension) / rates.encoded,
      memoryByteCount: rangesByteCount + floats(min(8192, pairCount)), diskByteCount: 0)
  }

  /// Three products a candidate: its score, its gradient, its step.
  private func epochs(of queries: Int, _ rates: MachineRates) -> StepCost {
    let candidates = min(nlist, router.candidates ?? RouterTraining.fullSoftmaxLimit)
    return StepCost(
      step: "router", seconds: 3 * Double(router.epochs) * seconds(queries, candidates, rates.compared),
      memoryByteCount: 4 * floats(nlist), diskByteCount: 3 * floats(nlist))
  }
}

extension TrainingRun {
  /// What the training would cost, with the checks that it makes before it works; nothing is written.
  ///
  /// Where shards would be fetched whose rows nobody knows, as many are taken to be there as are asked for.
  ///
  /// - Parameters:
  ///   - fetches: Whether shards that are not in the lake would be fetched.
  ///   - budget: Bytes of shards that the lake would hold at most; nil for as many as there are.
  ///   - directory: Where its searches would be written as tasks; nil where it makes them itself.
  /// - Returns: Its sizes.
  /// - Throws: ``TarnError``, as the training itself would before it begins.
  package func cost(
    fetches: Bool, within budget: Int? = nil, in directory: TaskDirectory?
  ) throws -> TrainingCost {
    try check()
    let pairs = try pairs(without: [], fetches: fetches, mayBeUnknown: fetches)
    var isDone = false
    let count: Int
    if pairs.unknownCount > 0 {
      count = try wantedCount(pairs)
      // One that is ready was made from shards that were seen.
      if try catalog.findTrainedIndex(named: options.name)?.state == .ready {
        throw catalog.otherTraining(options.name)
      }
      try requireRoom(pairs, count: count, sample: nil)
      let shards = pairs.pairs.flatMap { pair in pairs.sides.compactMap(pair.shard) }
      if let budget { try catalog.requireBudget(budget, for: shards.filter { $0.path == nil }) }
    } else {
      switch try begin(pairs, fetches: fetches, isDry: true) {
      case .ready(let trained): (count, isDone) = (trained.pairCount, true)
      case .gather(let plan):
        count = plan.sample.count
        if let budget { try catalog.requireBudget(budget, for: plan.stream.toFetch) }
        let spec = pairs.revisions.map { revisions in
          ContentDigest.of(
            definition(pairs, revisions, plan.sample, leftOut: plan.excluded).spec)
        }
        // What is left out of bad rows is in the specification, and not known before.
        if let directory {
          _ = try TrainingRounds.planThere(
            in: directory, of: options.name, options.badRows == .skip ? plan.trained?.specDigest : spec, catalog.uuid())
        }
      }
    }
    var cost = TrainingCost(
      pairCount: count, dimension: pairs.images.dimension,
      rowByteCount: pairs.sides.compactMap(pairs.source).reduce(0) {
        $0 + $1.dimension * $1.elementType.kept.byteCount
      },
      nlist: options.nlist, iterations: options.iterations, isPaired: options.method == .paired,
      nearest: options.nearest ?? .exact, router: options.router)
    cost.isDone = isDone
    cost.triesLists = options.queries != nil
    cost.rangesByteCount =
      RangeTrainer.byteCount(codec: options.codec, dimension: cost.dimension, statistic: options.ranges)
      + (options.refine.map {
        RangeTrainer.byteCount(codec: $0, dimension: cost.dimension, statistic: $0.defaultRanges)
      } ?? 0)
    if pairs.unknownCount > 0 {
      cost.unknown = UnknownRows(
        count: pairs.unknownCount, total: pairs.pairs.count,
        told:
          "the figures are of \(count.counted("row")); `tarn source probe \(pairs.images.name)` asks how many there are"
      )
    }
    return cost
  }
}
