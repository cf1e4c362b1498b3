// `train`: from registered shards to a trained index in the catalog.
//
// Steps, each resumed where it was left: sample -> gather -> nearest images ->
// k-means iterations -> router -> codec ranges -> file. What is kept between runs lies in
// LAKE/scratch under the digest of the specification.

internal import Base
package import Catalog
internal import Features
internal import Foundation
package import Indexer
package import Logging

/// What to train.
package struct TrainingOptions: Sendable {
  package var name: String
  package var images: String
  /// Nil for the control that looks at images only.
  package var captions: String?
  package var nlist: Int
  /// Pairs to draw; nil for 256 a list, or all when there are fewer.
  package var pairs: Int?
  package var method: TrainingMethod
  package var iterations: Int
  package var codec: VectorCodec
  /// How the codec's ranges follow from the training rows.
  package var ranges: RangeStatistic
  package var seed: Int64
  package var normalisation: Normalisation
  package var router: RouterOptions
  /// Whether sources must be registered as what they are used for; not where a
  /// document or a record says what to do.
  package var checksRoles = true

  package init(
    name: String, images: String, captions: String?, nlist: Int, pairs: Int? = nil, method: TrainingMethod = .paired,
    iterations: Int = 10, codec: VectorCodec = .sq4, ranges: RangeStatistic? = nil, seed: Int64 = 1,
    normalisation: Normalisation = .refuse, router: RouterOptions = RouterOptions()
  ) {
    self.name = name
    self.images = images
    self.captions = captions
    self.nlist = nlist
    self.pairs = pairs
    self.method = method
    self.iterations = iterations
    self.codec = codec
    self.ranges = codec.hasRanges ? ranges ?? codec.defaultRanges : .minmax
    self.seed = seed
    self.normalisation = normalisation
    self.router = router
  }
}

/// How far a training is.
package enum TrainingProgress: Sendable {
  case gathering(done: Int, total: Int)
  case nearestImages(tile: Int, of: Int)
  case iterated(TrainingIteration, of: Int)
  /// Router queries whose nearest images are known.
  case labelled(done: Int, total: Int)
  /// The mean cross-entropy of an epoch of the router, in nats.
  case routed(epoch: Int, of: Int, loss: Double)
}

/// Trains an index from shards that are in the lake.
package struct TrainingRun {
  let catalog: LakeCatalog
  let options: TrainingOptions
  let logger: Logger
  let cancellation: Cancellation
  let report: (TrainingProgress) -> Void

  /// Prepares a training.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to train.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked between steps; what is done is kept.
  ///   - report: Told of progress, on the calling thread.
  package init(
    _ catalog: LakeCatalog, _ options: TrainingOptions, logger: Logger, cancellation: Cancellation,
    report: @escaping (TrainingProgress) -> Void
  ) {
    self.catalog = catalog
    self.options = options
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
  }

  /// One source's shards with the revisions that training reads.
  private struct Input {
    let source: Source
    let shards: [(shard: Shard, revision: ShardRevision)]
    var rowCounts: [Int] { shards.map(\.revision.rowCount) }
  }

  /// Trains, or finds that it was done before.
  ///
  /// - Returns: The trained index, ready, and whether this run made it.
  /// - Throws: ``TarnError``; what is done is kept.
  package func run() throws -> (trained: TrainedIndexRecord, isNew: Bool) {
    cancellation.listen()
    try LakeCatalog.validate(name: options.name, of: "trained index")
    guard options.nlist >= 1 else { throw TarnError(.usage, "--nlist is \(options.nlist); it is at least 1") }
    guard options.iterations >= 1 else {
      throw TarnError(.usage, "--iterations is \(options.iterations); it is at least 1")
    }
    try options.router.validate()
    try checkRoles()
    let images = try input(options.images)
    let captions = try captionInput(pairedWith: images)
    let total = images.rowCounts.reduce(0, +)
    let wanted = options.pairs ?? min(total, 256 * options.nlist)
    guard options.nlist <= min(wanted, total) else {
      throw TarnError(
        .usage, "nlist is \(options.nlist) and there are \(min(wanted, total)) training rows",
        hint: "lower --nlist, raise --pairs or sync more shards")
    }
    let sample = try TrainingSample(
      count: wanted, rowCounts: images.rowCounts, seed: UInt64(bitPattern: options.seed))
    let definition = definition(images, captions, sample)
    if try catalog.findTrainedIndex(named: options.name)?.digest == nil {
      let scratch = catalog.layout.trainingScratch(.of(definition.spec))
      try requireRoom(images.source, captions?.source, sample.count, scratch)
    }
    let trained = try catalog.planTraining(definition)
    guard let digest = trained.digest else { return (try trainOrGiveUp(trained, images, captions, sample), true) }
    do {
      _ = try ArtifactStore(catalog).verified(.trainedIndex, digest)
      return (trained, false)
    } catch let error as TarnError where error.code == .inputsMissing || error.code == .integrity {
      // The same inputs give the same bytes: what was lost can be made again.
      logger.warning("\(error.message); training it again")
      let again = try train(trained, images, captions, sample)
      _ = try ArtifactStore(catalog).verified(.trainedIndex, digest)
      return (again, false)
    }
  }

  /// Trains; bytes that can never be trained on leave no plan behind.
  private func trainOrGiveUp(
    _ trained: TrainedIndexRecord, _ images: Input, _ captions: Input?, _ sample: TrainingSample
  ) throws -> TrainedIndexRecord {
    do {
      return try train(trained, images, captions, sample)
    } catch let error as TarnError where error.code == .badFeatures {
      try catalog.abandonTraining(trained)
      try? FileManager.default.removeItem(atPath: scratch(of: trained))
      throw error
    }
  }

  /// A training that was begun before goes on with what it was begun with.
  private func checkRoles() throws {
    guard options.checksRoles, try catalog.findTrainedIndex(named: options.name) == nil else { return }
    try Source.requireRoles(
      images: catalog.source(named: options.images), captions: options.captions.map(catalog.source(named:)))
  }

  private func scratch(of trained: TrainedIndexRecord) -> String {
    catalog.layout.trainingScratch(trained.specDigest)
  }

  private func input(_ name: String) throws -> Input {
    let source = try catalog.source(named: name)
    let shards = try catalog.shards(of: source)
    let missing = shards.filter { $0.revision == nil }
    guard missing.isEmpty else { throw source.missing(missing.map(\.name), of: shards.count) }
    return Input(
      source: source, shards: shards.compactMap { shard in shard.revision.map { (shard, $0) } })
  }

  private func captionInput(pairedWith images: Input) throws -> Input? {
    guard options.method == .paired || options.router.method != .none else { return nil }
    guard let name = options.captions else {
      throw TarnError(
        .usage, options.method == .paired ? "paired k-means needs caption features" : "a router needs caption features",
        hint: "name their source with --captions, or use --method kmeans --router none")
    }
    let captions = try input(name)
    guard captions.source.dimension == images.source.dimension else {
      throw TarnError(
        .usage,
        "\(options.images) has dimension \(images.source.dimension) and \(name) has \(captions.source.dimension)",
        hint: "image and caption features must come from one model")
    }
    guard captions.shards.count == images.shards.count else {
      throw TarnError(
        .usage,
        "\(options.images) has \(images.shards.count) shards and \(name) has \(captions.shards.count): they are not pairs",
        hint: "row i of both must be one image and its caption")
    }
    for (image, caption) in zip(images.shards, captions.shards)
    where image.revision.rowCount != caption.revision.rowCount {
      throw TarnError(
        .usage,
        "\(images.source.name)/\(image.shard.name) has \(image.revision.rowCount) rows and "
          + "\(captions.source.name)/\(caption.shard.name) has \(caption.revision.rowCount): they are not pairs",
        hint: "row i of both must be one image and its caption")
    }
    return captions
  }

  private func definition(_ images: Input, _ captions: Input?, _ sample: TrainingSample) -> TrainingDefinition {
    func list(_ input: Input) -> JSONValue {
      .array(
        input.shards.map {
          .object(["rows": .count($0.revision.rowCount), "sha256": .string($0.revision.digest.hex)])
        })
    }
    var spec: [String: JSONValue] = [
      "format": .integer(1), "method": .string(options.method.rawValue), "nlist": .count(options.nlist),
      "dimension": .count(images.source.dimension), "codec": .string(options.codec.rawValue),
      "ranges": .string(options.ranges.text), "iterations": .count(options.iterations), "seed": .integer(options.seed),
      "normalisation": .string(options.normalisation.rawValue),
      "sample": .object([
        "rule": .string(TrainingSample.rule), "pairs": .count(sample.count), "sha256": .string(sample.digest.hex),
      ]),
      "images": list(images), "captions": captions.map(list) ?? .null,
    ]
    let router = captions.flatMap { options.router.definition(captions: $0.source, pairs: sample.count) }
    if let router { spec["router"] = options.router.spec(captionCount: router.captionCount) }
    return TrainingDefinition(
      name: options.name, method: options.method.rawValue, codec: options.codec.rawValue, nlist: options.nlist,
      dimension: images.source.dimension, iterations: options.iterations, seed: options.seed,
      pairCount: sample.count, images: images.source, captions: options.method == .paired ? captions?.source : nil,
      router: router, spec: JSONValue.object(spec).text,
      inputs: images.shards.map { .init(role: "image", revision: $0.revision) }
        + (captions?.shards ?? []).map { .init(role: "caption", revision: $0.revision) })
  }

  private func train(
    _ trained: TrainedIndexRecord, _ images: Input, _ captions: Input?, _ sample: TrainingSample
  ) throws -> TrainedIndexRecord {
    let scratch = scratch(of: trained)
    try Disk.makeDirectory(scratch)
    let imageRows = try gather(images, sample, into: scratch + "/images.npy")
    let captionRows = try captions.map { try gather($0, sample, into: scratch + "/captions.npy") }
    let pairedRows = options.method == .paired ? captionRows : nil
    let nearest = try pairedRows.map { try nearestImages(imageRows, $0, scratch + "/nearest.state") }
    let clustered = try cluster(
      trained, imageRows.matrix, pairedRows?.matrix, nearest, inputs: .of(trained.spec), scratch + "/kmeans.state")
    let centroids = try refine(
      clustered, images: imageRows, inputs: .of(trained.spec), scratch + "/refined.state")
    let router = try captionRows.flatMap {
      try route(trained, images: imageRows, captions: $0, centroids: centroids, scratch)
    }

    var ranges = try RangeTrainer(codec: options.codec, dimension: trained.dimension, statistic: options.ranges)
    for first in stride(from: 0, to: imageRows.matrix.rowCount, by: 8192) {
      try cancellation.check()
      let block = imageRows.matrix.floats(rows: first..<min(first + 8192, imageRows.matrix.rowCount))
      ranges.add(block.span)
    }
    let index = try TrainedIndex(
      centroids: router ?? centroids, assigner: router == nil ? nil : centroids, quantizer: ranges.finish())
    let store = ArtifactStore(catalog)
    let working = try store.workingPath("trained-\(trained.specDigest.prefix(16)).faiss")
    let (digest, byteCount) = try TrainedIndexFile.write(index, to: working, temporaryPath: working + ".tmp")
    try store.put(working, as: .trainedIndex, digest) {
      try catalog.finishTraining(trained, digest: digest, byteCount: byteCount)
    }
    try? FileManager.default.removeItem(atPath: scratch)
    return try catalog.trainedIndex(named: trained.name)
  }

  /// Refuses a training that does not fit: the drawn rows, what is nearest to them,
  /// a state of k-means beside the one that it replaces, and the index.
  private func requireRoom(_ images: Source, _ captions: Source?, _ count: Int, _ scratch: String) throws {
    let gathered = [("images", images)] + (captions.map { [("captions", $0)] } ?? [])
    let rows = gathered.filter { Disk.size(of: "\(scratch)/\($0.0).npy") == nil }.reduce(0) {
      $0 + count * $1.1.dimension * $1.1.elementType.byteCount
    }
    let centroids = 4 * options.nlist * images.dimension
    let captionCount = options.router.method == .none ? 0 : min(options.router.captionLimit, count)
    let states = 16 * count + 2 * centroids + captionCount * (8 * images.dimension + 512)
    try catalog.requireRoom(
      for: "the training of \(options.name)",
      [
        RoomNeed(at: scratch, byteCount: rows + states),
        RoomNeed(at: catalog.layout.artifacts, byteCount: 8 * count + 2 * centroids),
      ])
  }

  /// Drawn rows in one file, with its digest.
  struct Gathered {
    let matrix: FeatureMatrix
    let digest: ContentDigest
  }

  /// The drawn rows of a source, gathered unless they are there whole from an
  /// earlier run.
  private func gather(_ input: Input, _ sample: TrainingSample, into path: String) throws -> Gathered {
    if let recorded = Disk.text(of: path + ".sha256"), Disk.size(of: path) != nil,
      let found = try? Disk.digest(of: path), found.hex == recorded
    {
      return Gathered(matrix: try FeatureFile(path).matrix, digest: found)
    }
    let missing = input.shards.filter { $0.shard.path == nil }
    guard missing.isEmpty else { throw input.source.missing(missing.map(\.shard.name), of: input.shards.count) }
    var writer = try TrainingMatrixWriter(
      creating: path + ".tmp", elementType: input.source.elementType, rowCount: sample.count,
      dimension: input.source.dimension, normalisation: options.normalisation)
    for (index, entry) in input.shards.enumerated() {
      guard let shardPath = entry.shard.path else { continue }
      try cancellation.check()
      let file = try input.source.pinned(shardPath, entry.revision, in: catalog).open()
      try writer.append(sample.rows[index], of: file)
      report(.gathering(done: index + 1, total: input.shards.count))
    }
    let digest = try writer.finish(as: path)
    try Disk.writeAtomically(Array(digest.hex.utf8), to: path + ".sha256")
    return Gathered(matrix: try FeatureFile(path).matrix, digest: digest)
  }

  /// The nearest image of each caption: an artifact, shared by every training
  /// on the same pairs.
  private func nearestImages(_ images: Gathered, _ captions: Gathered, _ path: String) throws -> [UInt32] {
    let inputs = ContentDigest.of(
      JSONValue.object([
        "format": .integer(1), "images": .string(images.digest.hex), "captions": .string(captions.digest.hex),
      ]).text)
    let search = try NearestImages(images: images.matrix, captions: captions.matrix, inputs: inputs, logger: logger)
    let store = ArtifactStore(catalog)
    if let known = try catalog.nearestImages(of: inputs), let file = try? store.verified(.nearestImages, known) {
      return try search.load(file).images
    }
    var state = try resumed(path, search.initialState) { try search.load(path) }
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
    return state.images
  }

  private func cluster(
    _ trained: TrainedIndexRecord, _ images: FeatureMatrix, _ captions: FeatureMatrix?, _ nearest: [UInt32]?,
    inputs: ContentDigest, _ path: String
  ) throws -> [Float] {
    let kmeans = try PairedKMeans(
      images: images, captions: captions ?? images, nearestImages: nearest, nlist: options.nlist,
      seed: UInt64(bitPattern: options.seed), inputs: inputs, logger: logger)
    var state = try resumed(path, kmeans.initialState()) { try kmeans.load(path) }
    while state.iteration < options.iterations {
      try cancellation.check()
      try kmeans.step(&state)
      try kmeans.save(state, as: path)
      guard let last = state.history.last else { continue }
      report(.iterated(last.record(state.iteration), of: options.iterations))
    }
    for (index, iteration) in state.history.enumerated() {
      try catalog.recordIteration(iteration.record(index + 1), of: trained)
    }
    return state.centroids
  }

  /// A saved state, or the first one when there is none that can be used.
  func resumed<State>(_ path: String, _ first: @autoclosure () throws -> State, load: () throws -> State) throws
    -> State
  {
    guard Disk.size(of: path) != nil else { return try first() }
    do {
      return try load()
    } catch let error as TarnError where error.code == .integrity {
      logger.warning("\(error.message); starting that step over")
      return try first()
    }
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
