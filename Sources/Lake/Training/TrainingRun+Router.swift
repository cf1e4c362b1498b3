// The router's part of `train`: queries -> labels -> epochs.

internal import Base
internal import Catalog
internal import Features
internal import Indexer

extension RouterOptions {
  /// The router as the catalog records it; nil for none.
  func definition(captions: Source, pairs: Int) -> RouterDefinition? {
    guard method != .none else { return nil }
    return RouterDefinition(
      method: method.rawValue, captions: captions, captionCount: min(captionLimit, pairs),
      epochs: RouterDefinition.epochs(epochs, of: method.rawValue))
  }
}

extension TrainingRun {
  /// Refines the centroids of paired k-means on the images alone, for a version
  /// whose lists a router ranks.
  ///
  /// Each step files the training images and sets every centroid to the mean of
  /// its images: the steps of ``PairedKMeans`` with each image its own caption.
  /// Lists come out more even, and images with images.
  ///
  /// - Parameters:
  ///   - trained: The trained index on its way.
  ///   - centroids: `[nlist × dimension]`.
  ///   - images: Training images.
  ///   - path: Where the state is kept between steps.
  /// - Returns: As many centroids.
  /// - Throws: ``TarnError``.
  func refine(
    _ trained: TrainedIndexRecord, _ centroids: [Float], images: Gathered, _ path: String
  ) throws -> [Float] {
    guard options.router.method != .none, options.method == .paired, options.router.refinements > 0 else {
      return centroids
    }
    let kmeans = try PairedKMeans(
      images: images.matrix, captions: images.matrix, nearestImages: nil, nlist: options.nlist,
      seed: UInt64(bitPattern: options.seed), inputs: .of(trained.spec), logger: logger)
    let first = KMeansState(iteration: 0, centroids: centroids, cells: [], history: [])
    var state = try resumed(path, first) { try kmeans.load(path) }
    while state.iteration < options.router.refinements {
      try cancellation.check()
      try kmeans.step(&state, assigning: assigner("refinement \(state.iteration + 1)", trained, images, kmeans))
      try kmeans.save(state, as: path)
    }
    return state.centroids
  }

  /// Trains the router.
  ///
  /// - Parameters:
  ///   - trained: The trained index on its way.
  ///   - images: Training images.
  ///   - captions: Their captions, row by row.
  ///   - centroids: What files images, `[nlist × dimension]`.
  ///   - scratch: Directory of what is kept between runs.
  /// - Returns: Router rows, `[nlist × dimension]`; nil where none was asked for.
  /// - Throws: ``TarnError``.
  func route(
    _ trained: TrainedIndexRecord, images: Gathered, captions: Gathered, centroids: [Float], _ scratch: String
  ) throws -> [Float]? {
    guard options.router.method != .none else { return nil }
    let seed = UInt64(bitPattern: options.seed)
    let count = min(options.router.captionLimit, captions.matrix.rowCount)
    let path = scratch + "/router-queries.npy"
    let queriesDigest = try RouterQueries.write(
      captions.matrix, count: count, seed: seed, hasBlends: options.router.method.isTrained, to: path)
    let queries = try FeatureFile(path).matrix
    let nearest = try labels(
      trained, images: images, queries: Gathered(path: path, matrix: queries, digest: queriesDigest), scratch)
    let filed =
      try rounds.map { rounds in
        try rounds.find(
          "filing", of: trained, vectors: rounds.share(images.path, digest: images.digest),
          among: rounds.share(centroids, dimension: trained.dimension), k: 1, cancellation
        ).rows
      }
      ?? AssignmentEngine(rows: FeatureMatrix(centroids, dimension: images.matrix.dimension), logger: logger)
      .best(of: images.matrix).rows
    var sizes = [Int](repeating: 0, count: options.nlist)
    for list in filed { sizes[Int(list)] += 1 }
    let training = try RouterTraining(
      method: options.router.method, captions: queries, labels: nearest.map { filed[Int($0)] }, listSizes: sizes,
      centroids: centroids, epochs: options.router.epochs, seed: seed, inputs: .of(trained.spec),
      sampledLists: options.router.candidates)
    let statePath = scratch + "/router.state"
    var state = try resumed(statePath, training.initialState()) { try training.load(statePath) }
    while state.epoch < training.epochs {
      try cancellation.check()
      training.step(&state)
      try training.save(state, as: statePath)
      report(.routed(epoch: state.epoch, of: training.epochs, loss: state.losses.last ?? 0))
    }
    for (index, loss) in state.losses.enumerated() {
      try catalog.recordRouterEpoch(index + 1, loss: loss, of: trained)
    }
    return state.weights
  }

  /// The nearest images of the queries: an artifact, shared by every training
  /// on the same pairs and seed.
  private func labels(
    _ trained: TrainedIndexRecord, images: Gathered, queries: Gathered, _ scratch: String
  ) throws -> [UInt32] {
    let inputs = nearestInputs(
      [
        "format": .string("router-labels-1"), "images": .string(images.digest.hex),
        "queries": .string(queries.digest.hex), "labels": .count(RouterTraining.labelCount),
      ], images)
    let search = RouterLabels(queries: queries.matrix, images: images.matrix, inputs: inputs)
    let store = ArtifactStore(catalog)
    if let known = try catalog.nearestImages(of: inputs), let file = try? store.verified(.routerLabels, known) {
      return try search.load(file)
    }
    let found =
      try foundInLists(search.perQuery, of: queries, inputs, trained, images, scratch + "/labels.state.lists")?.rows
      ?? rounds.map { rounds in
        try rounds.find(
          "router labels", of: trained, vectors: rounds.share(queries.path, digest: queries.digest),
          among: rounds.share(images.path, digest: images.digest), k: search.perQuery, cancellation
        ).rows
      }
      ?? search.find(resumingAt: scratch + "/labels.state", logger: logger) {
        try cancellation.check()
        report(.labelled(done: $0, total: queries.matrix.rowCount))
      }
    let working = try store.workingPath("labels-\(inputs.prefix(16))")
    let digest = try search.save(found, as: working)
    let byteCount = Disk.size(of: working) ?? 0
    try store.put(working, as: .routerLabels, digest) {
      try catalog.recordNearest(
        .routerLabels, of: inputs, digest: digest, byteCount: byteCount, pairCount: queries.matrix.rowCount)
    }
    return found
  }
}
