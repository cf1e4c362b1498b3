// `train`: from registered shards to a trained index in the catalog.
//
// Steps, each resumed where it was left: pairs -> sample -> gather, shard by shard ->
// nearest images -> k-means iterations -> router -> codec ranges -> file. What is
// kept between runs lies in LAKE/scratch: gathered rows under the name of the trained
// index, what follows under the digest of the specification.

package import Base
package import Catalog
internal import Features
internal import Foundation
internal import Indexer
package import Logging

/// Trains an index.
package struct TrainingRun: Sendable {
  let catalog: LakeCatalog
  let options: TrainingOptions
  let logger: Logger
  let cancellation: Cancellation
  let report: @Sendable (TrainingProgress) -> Void
  /// Who makes the searches; nil to make them here.
  package var rounds: TrainingRounds?
  /// Whether it continues a training that was planned before, as its record says.
  var isContinuation = false

  /// Prepares a training.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to train.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked between steps; what is done is kept.
  ///   - report: Told of progress, on the training thread.
  package init(
    _ catalog: LakeCatalog, _ options: TrainingOptions, logger: Logger, cancellation: Cancellation,
    report: @escaping @Sendable (TrainingProgress) -> Void
  ) {
    self.catalog = catalog
    self.options = options
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
  }

  /// Trains on shards that are in the lake, or finds that the index was trained before.
  ///
  /// - Returns: The trained index, ready, and whether this run made it.
  /// - Throws: ``TarnError``; what is done is kept.
  package func run() throws -> (trained: TrainedIndexRecord, isNew: Bool) {
    cancellation.listen()
    try check()
    // Rows may be excluded while it gathers: then it plans again, without them.
    for _ in 0..<Self.mostDraws {
      switch try begin(without: [], fetches: false) {
      case .ready(let trained):
        sayNothingIsTried(trained)
        rounds?.clean(after: trained)
        return (trained, false)
      case .gather(let plan):
        let result = try givingUpUnfit(plan) {
          let found = try gather(plan) {}
          return try conclude(plan, found)
        }
        if let result { return result }
      }
    }
    throw drawnTooOften
  }

  /// Trains while the shards that are not in the lake are fetched, or finds that the index
  /// was trained before.
  ///
  /// - Parameters:
  ///   - fetch: How to fetch; which shards is the training's to say. Nil to fetch
  ///     nothing.
  ///   - follow: Told what the fetcher does, on its thread.
  /// - Returns: The trained index, ready, and whether this run made it.
  /// - Throws: ``TarnError``; what is done is kept.
  package func run(
    fetching fetch: SyncOptions?, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> (trained: TrainedIndexRecord, isNew: Bool) {
    guard var fetch else { return try await ThreadedWork("tarn-train") { try run() }.value() }
    fetch.consumer = LakeCatalog.dependent(trainedIndex: options.name)
    cancellation.listen()
    try check()
    for name in [options.images, options.captions].compactMap(\.self) {
      try await catalog.learnRows(
        of: catalog.source(named: name), where: { options.ordinals?.contains($0) ?? true }, fetch.fetch,
        waits: WaitOptions(fetch, report: follow), cancellation)
    }
    // A shard that turns out to be lost, or of another length, changes which rows of the others are drawn.
    var lost: Set<Int64> = []
    for _ in 0..<Self.mostDraws {
      let step = try await ThreadedWork("tarn-plan") { [lost] in try begin(without: lost, fetches: true) }.value()
      let plan: TrainingPlan
      switch step {
      case .ready(let trained):
        sayNothingIsTried(trained)
        rounds?.clean(after: trained)
        return (trained, false)
      case .gather(let drawn): plan = drawn
      }
      let found = try await plan.stream.run(
        catalog, fetching: fetch, thread: "tarn-gather", cancellation: cancellation, follow: follow
      ) { onRelease in try givingUpUnfit(plan) { try gather(plan, onRelease) } }
      lost.formUnion(found.lost)
      let result = try await ThreadedWork("tarn-train") { try givingUpUnfit(plan) { try conclude(plan, found) } }
        .value()
      if let result { return result }
    }
    throw drawnTooOften
  }

  private var drawnTooOften: TarnError {
    TarnError(
      .integrity, "shards of \(options.images) come with other rows each time they are asked for",
      hint: "`tarn source probe \(options.images)` shows what their mirrors say")
  }

  /// How often rows are drawn at most: each time but the last another shard is lost, or its true length learnt.
  private static let mostDraws = 100

  /// Refuses what can never be trained, before anything is asked or planned.
  func check() throws {
    try LakeCatalog.validate(name: options.name, of: "trained index")
    // Documents hold these numbers, too, and whoever reads those holds them against the same bounds.
    try ForeignNumber.count.check(options.nlist, "a number of lists", in: "--nlist")
    try ForeignNumber.setting.check(options.iterations, "a number of iterations", in: "--iterations")
    try options.router.validate()
    try checkQueries()
    try checkRoles()
  }

  /// Carries work out, and abandons the planned training if the bytes can never be trained on as was asked.
  ///
  /// After other errors, such as a wrong setting, the plan stays.
  private func givingUpUnfit<Value>(_ plan: TrainingPlan, _ work: () throws -> Value) throws -> Value {
    do {
      return try work()
    } catch let error as TarnError where error.code == .badFeatures || error.code == .unfit {
      if let trained = plan.trained {
        try catalog.abandonTraining(trained)
        try? FileManager.default.removeItem(atPath: scratch(of: trained))
      }
      // Rows of shards that were fetched are kept, so that the next try does not fetch them again.
      if plan.stream.toFetch.isEmpty { try? FileManager.default.removeItem(atPath: plan.pieces.directory) }
      throw error
    }
  }

  /// Refuses sources that are not registered as images and captions, unless the training was begun already.
  private func checkRoles() throws {
    guard options.checksRoles, try catalog.findTrainedIndex(named: options.name) == nil else { return }
    let images = try catalog.features(named: options.images, to: "be trained on")
    let captions = try options.captions.map(catalog.source(named:))
    try Source.requireRoles(images: images, captions: captions)
    guard let captions else { return }
    // Pairs of which one shard was dropped are not trained on.
    let used = try [images, captions].map { source in
      Set(try catalog.shards(of: source, ordinals: options.ordinals).filter { !$0.isDropped }.map(\.ordinal))
    }
    let pairs = OrdinalSet(ascending: used[0].intersection(used[1]).sorted())
    try catalog.requirePartners(captions, images, at: pairs)
  }

  func scratch(of trained: TrainedIndexRecord) -> String { catalog.layout.trainingScratch(trained.specDigest) }

  /// Trains on rows that are gathered.
  func train(_ trained: TrainedIndexRecord, _ rows: GatheredPairs) throws -> TrainedIndexRecord {
    let scratch = scratch(of: trained)
    try rounds?.note(trained)
    let (imageRows, captionRows) = (rows.images, rows.captions)
    try tryLists(imageRows, captionRows, in: scratch)
    let pairedRows = options.method == .paired ? captionRows : nil
    let nearest = try pairedRows.map { try nearestImages(trained, imageRows, $0, scratch + "/nearest.state") }
    let clustered = try cluster(trained, imageRows, pairedRows?.matrix, nearest?.rows, scratch + "/kmeans.state")
    let centroids = try refine(trained, clustered, images: imageRows, scratch + "/refined.state")
    let router = try captionRows.flatMap {
      try route(trained, images: imageRows, captions: $0, centroids: centroids, scratch)
    }

    var ranges = try RangeTrainer(codec: options.codec, dimension: trained.dimension, statistic: options.ranges)
    var refining = try options.refine.map {
      try RangeTrainer(codec: $0, dimension: trained.dimension, statistic: $0.defaultRanges)
    }
    for first in stride(from: 0, to: imageRows.matrix.rowCount, by: 8192) {
      try cancellation.check()
      let block = imageRows.matrix.floats(rows: first..<min(first + 8192, imageRows.matrix.rowCount))
      ranges.add(block.span)
      refining?.add(block.span)
    }
    let index = try TrainedIndex(
      centroids: router ?? centroids, assigner: router == nil ? nil : centroids, quantizer: ranges.finish(),
      refine: refining?.finish())
    var measured: [String: JSONValue] = [:]
    if let agreement = nearest?.agreement {
      measured["nearest_agreement"] = .object(["agreed": .count(agreement.agreed), "of": .count(agreement.sampled)])
    }
    if let tried = listsTried(in: scratch), tried["nlist"] != nil { measured["lists_tried"] = tried }
    let store = ArtifactStore(catalog)
    let working = try store.workingPath("trained-\(trained.specDigest.prefix(16)).faiss")
    let (digest, byteCount) = try TrainedIndexFile.write(index, to: working, temporaryPath: working + ".tmp")
    try store.put(working, as: .trainedIndex, digest) {
      try catalog.finishTraining(trained, digest: digest, byteCount: byteCount, measured: measured)
    }
    try? FileManager.default.removeItem(atPath: scratch)
    rounds?.clean()
    return try catalog.trainedIndex(named: trained.name)
  }

  /// Drawn rows in one file, with its digest.
  struct Gathered: Sendable {
    let path: String
    let matrix: FeatureMatrix
    let digest: ContentDigest
  }

  /// The nearest image of each caption: an artifact, shared by every training
  /// on the same pairs.
  private func nearestImages(
    _ trained: TrainedIndexRecord, _ images: Gathered, _ captions: Gathered, _ path: String
  ) throws -> (rows: [UInt32], agreement: NearestAgreement?) {
    let inputs = nearestInputs(
      ["format": .integer(1), "images": .string(images.digest.hex), "captions": .string(captions.digest.hex)], images)
    let search = try NearestImages(images: images.matrix, captions: captions.matrix, inputs: inputs, logger: logger)
    let store = ArtifactStore(catalog)
    if let known = try catalog.nearestImages(of: inputs), let file = try? store.verified(.nearestImages, known) {
      return try measured(search.load(file).images, images, captions, inputs)
    }
    var state = try resumed(path, search.initialState) { try search.load(path) }
    if state.nextTile == 0 { try checkDistinct(trained, images.matrix, captions.matrix, inputs) }
    if let found = try foundInLists(1, of: captions, inputs, trained, images, path + ".lists") {
      state = search.finalState(found)
    } else if let rounds, state.nextTile < search.tileCount {
      state = search.finalState(
        try rounds.find(
          "nearest images", of: trained, vectors: rounds.share(captions.path, digest: captions.digest),
          among: rounds.share(images.path, digest: images.digest), k: 1, cancellation))
    }
    var saved = ContinuousClock.now
    try search.run(&state) { state in
      try cancellation.check()
      report(.nearestImages(tile: state.nextTile, of: search.tileCount))
      guard ContinuousClock.now - saved > .seconds(30) else { return }
      try search.save(state, as: path)
      saved = .now
    }
    let working = try store.workingPath("nearest-\(inputs.prefix(16))")
    let digest = try search.save(state, as: working)
    let byteCount = Disk.size(of: working) ?? 0
    try store.put(working, as: .nearestImages, digest) {
      try catalog.recordNearest(
        .nearestImages, of: inputs, digest: digest, byteCount: byteCount, pairCount: state.images.count)
    }
    return try measured(state.images, images, captions, inputs)
  }

  /// Refuses, before the search, a training that cannot have as many distinct nearest
  /// images as lists, and warns of one that may not.
  private func checkDistinct(
    _ trained: TrainedIndexRecord, _ images: FeatureMatrix, _ captions: FeatureMatrix, _ inputs: ContentDigest
  ) throws {
    func refuse(_ count: Int, _ what: String) -> TarnError {
      TarnError(
        .unfit, "nlist is \(options.nlist) and the training set has no more than \(count) \(what)",
        hint: Self.way(of: trained))
    }
    for (matrix, what) in [(images, "distinct images"), (captions, "distinct captions")] {
      let count = DistinctImages.count(in: matrix, upTo: options.nlist)
      guard count >= options.nlist else { throw refuse(count, what) }
      try cancellation.check()
    }
    let rows = DistinctImages.sample(of: captions.rowCount, nlist: options.nlist)
    // Where the search itself costs no more than that, it says so soon enough.
    guard !rows.isEmpty, (options.nearest ?? .exact) == .exact else { return }
    let few = captions.copy(ofRows: rows)
    let search = try NearestImages(images: images, captions: few, inputs: inputs, logger: logger)
    var state = search.initialState
    try search.run(&state) { _ in try cancellation.check() }
    let most = DistinctImages.most(found: state.images, of: captions.rowCount)
    guard most >= options.nlist else { throw refuse(most, "distinct nearest images") }
    let guess = DistinctImages.guess(found: state.images, of: captions.rowCount)
    if guess < options.nlist {
      logger.warning(
        "of \(rows.count) captions, \(Set(state.images).count) have a nearest image of their own; about \(guess) distinct nearest images are to be expected, fewer than nlist \(options.nlist), and then this training fails"
      )
    }
  }

  /// What helps where there are more lists than rows are of use.
  static func way(drawn count: Int, of total: Int) -> String {
    count < total ? "lower --nlist or raise --pairs" : "lower --nlist"
  }

  /// As ``way(drawn:of:)``, by what a training's specification says.
  private static func way(of trained: TrainedIndexRecord) -> String {
    let images = JSONValue(parsing: trained.spec)?["images"]?.elements ?? []
    return way(drawn: trained.pairCount, of: images.compactMap { $0["rows"]?.count }.saturatedSum)
  }

  private func cluster(
    _ trained: TrainedIndexRecord, _ images: Gathered, _ captions: FeatureMatrix?, _ nearest: [UInt32]?, _ path: String
  ) throws -> [Float] {
    let kmeans: PairedKMeans
    do {
      kmeans = try PairedKMeans(
        images: images.matrix, captions: captions ?? images.matrix, nearestImages: nearest, nlist: options.nlist,
        seed: UInt64(bitPattern: options.seed), inputs: .of(trained.spec), logger: logger)
    } catch let error as TarnError where error.code == .unfit {
      throw TarnError(.unfit, error.message, hint: Self.way(of: trained))
    }
    var state = try resumed(path, kmeans.initialState()) { try kmeans.load(path) }
    func isDone() -> Bool {
      state.iteration >= options.iterations
        || options.untilMoved?.isReached(by: state.history, captionCount: kmeans.captionCount) == true
    }
    // The state is the truth of how far it is; its record follows it, for whoever watches.
    try catalog.settleIterations(state.history.enumerated().map { $1.record($0 + 1) }, of: trained)
    while !isDone() {
      try cancellation.check()
      try kmeans.step(&state, assigning: assigner("iteration \(state.iteration + 1)", trained, images, kmeans))
      try kmeans.save(state, as: path)
      guard let last = state.history.last else { continue }
      try catalog.recordIteration(last.record(state.iteration), of: trained)
      report(.iterated(last.record(state.iteration), of: options.iterations))
    }
    return state.centroids
  }

  /// Finds the centroid of each image that k-means files, where others do that.
  func assigner(
    _ step: String, _ trained: TrainedIndexRecord, _ images: Gathered, _ kmeans: PairedKMeans
  ) throws -> (([Float]) throws -> RowsFound)? {
    guard let rounds else { return nil }
    return { centroids in
      try rounds.find(
        step, of: trained,
        vectors: rounds.share(kmeans.distinctImages, of: images.path, digest: images.digest),
        among: rounds.share(centroids, dimension: trained.dimension), k: 1, cancellation)
    }
  }

  /// A saved state, or the first one when there is none that can be used.
  func resumed<State>(_ path: String, _ first: @autoclosure () throws -> State, load: () throws -> State) throws
    -> State
  {
    guard Disk.size(of: path) != nil else { return try first() }
    return try SavedState.usable(logger, load) ?? first()
  }
}

extension KMeansIteration {
  /// The iteration as the catalog keeps it.
  fileprivate func record(_ number: Int) -> TrainingIteration {
    TrainingIteration(
      iteration: number, objective: objective, movedShare: movedShare, imbalance: imbalance, emptyCount: emptyCells,
      largestCount: largestCell)
  }
}
