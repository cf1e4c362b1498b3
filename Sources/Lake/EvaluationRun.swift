// `evaluate`: what a version finds of what exact search finds.
//
// Steps: queries -> ground truth over the original features (streamed, kept as
// an artifact, shared by every version of the same rows) -> the list of each
// true neighbour, read from the outputs -> ranking of lists -> one search for
// each nprobe -> catalog.

package import Base
package import Catalog
internal import Features
internal import Foundation
internal import Indexer

/// What to evaluate.
package struct EvaluationOptions: Sendable {
  /// A feature file.
  package var queries: String
  /// The deepest recall; recall at 1 and 10 is measured besides.
  package var k: Int
  /// Lists visited, each measured.
  package var nprobes: [Int]
  package var threads: Int
  /// Canonical JSON of the tool and the machine, for the record.
  package var environment: String

  package init(queries: String, k: Int, nprobes: [Int], threads: Int, environment: String) {
    self.queries = queries
    self.k = k
    self.nprobes = nprobes
    self.threads = threads
    self.environment = environment
  }
}

/// How far an evaluation is.
package enum EvaluationProgress: Sendable {
  /// Rows compared with all queries.
  case exact(rowsDone: Int, rows: Int)
  case locating(output: Int, of: Int)
  case searching(nprobe: Int)
}

/// Evaluates one version after another with the same queries.
package struct EvaluationRun {
  private let catalog: LakeCatalog
  private let options: EvaluationOptions
  private let store: ArtifactStore
  private let queries: FeatureFile
  private let queriesDigest: ContentDigest
  private let cancellation: Cancellation
  private let report: (EvaluationProgress) -> Void

  /// Opens the queries.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing: results are recorded.
  ///   - options: What to evaluate.
  ///   - cancellation: Asked often; what is recorded stays.
  ///   - report: Told of progress, on the calling thread.
  /// - Throws: ``TarnError`` `.usage` for a parameter out of range,
  ///   `.badFeatures` for queries that are NaN, infinite or zero.
  package init(
    _ catalog: LakeCatalog, _ options: EvaluationOptions, cancellation: Cancellation,
    report: @escaping (EvaluationProgress) -> Void
  ) throws {
    guard (1...1024).contains(options.k) else { throw TarnError(.usage, "k is \(options.k), not in 1...1024") }
    guard let least = options.nprobes.min(), least >= 1 else {
      throw TarnError(.usage, "--nprobe takes numbers of lists, at least 1")
    }
    // The digest is of the bytes that are measured, or there is none.
    let state = Disk.identity(of: options.queries)
    queries = try FeatureFile(options.queries)
    try queries.requireGoodRows()
    guard queries.rowCount > 0 else { throw TarnError(.usage, "\(options.queries) holds no queries") }
    queriesDigest = try Disk.digest(of: options.queries)
    guard Disk.identity(of: options.queries) == state else {
      throw TarnError(
        .integrity, "\(options.queries) changed while it was read", hint: "wait until nothing writes to it")
    }
    self.catalog = catalog
    self.options = options
    self.cancellation = cancellation
    self.report = report
    store = ArtifactStore(catalog)
  }

  /// Depths at which recall is measured, ascending.
  package static func depths(upTo k: Int) -> [Int] { Set([1, 10, k]).filter { $0 <= k }.sorted() }

  /// Looks whether a version can be measured with these queries, without reading
  /// its files.
  ///
  /// - Parameter name: The version.
  /// - Returns: Its row.
  /// - Throws: ``TarnError`` `.conflict` for one that is not sealed, `.usage` for
  ///   queries of another dimension, `.notFound`.
  @discardableResult
  package func check(_ name: VersionName) throws -> IndexVersion {
    let version = try catalog.version(name)
    guard version.state == .sealed || version.state == .revoked else {
      throw TarnError(
        .conflict, "\(name) is \(version.state.rawValue), not sealed", hint: version.state.wayToSealed)
    }
    try requireDimension(catalog.trainedIndex(id: version.trainedIndexID).dimension, of: name)
    return version
  }

  private func requireDimension(_ dimension: Int, of name: VersionName) throws {
    guard queries.dimension == dimension else {
      throw TarnError(
        .usage, "\(options.queries) has rows of \(queries.dimension) elements, \(name) has \(dimension)",
        hint: "evaluate with features of the model it was built from")
    }
  }

  /// Measures a version and records what was found.
  ///
  /// - Parameter name: The version, sealed or revoked.
  /// - Returns: What was recorded.
  /// - Throws: ``TarnError`` `.inputsMissing` when ground truth has to be
  ///   computed and a shard is not in the lake, `.usage` when the queries are
  ///   of another dimension; ``TarnError``.
  package func run(_ name: VersionName) throws -> Evaluation {
    cancellation.listen()
    let version = try check(name)
    try catalog.requireBorneOut(version)
    let paths = try catalog.outputs(of: version).map { try ArtifactStore(catalog).path(of: .outputShard, $0.digest) }
    let searcher = try VersionSearcher(outputShards: paths)
    // The files have the last word.
    try requireDimension(searcher.dimension, of: name)
    let (truth, truthDigest) = try groundTruth(of: version)
    let filing = try locate(truth, in: paths)
    let nprobes = Set(options.nprobes.map { min($0, searcher.nlist) }).sorted()
    var ranking = try ExactNeighbors(queries: queries.matrix, k: nprobes.last ?? 1)
    try ranking.add(FeatureMatrix(filing.centroids, dimension: searcher.dimension))
    let measure = RecallMeasure(truth: truth, filing: filing, ranking: ranking)
    let floats = queries.matrix.floats(rows: 0..<queries.rowCount)
    var points: [EvaluationPoint] = []
    for nprobe in nprobes {
      try cancellation.check()
      report(.searching(nprobe: nprobe))
      let started = ContinuousClock.now
      let found = try searcher.search(floats, k: options.k, nprobe: nprobe, threads: options.threads)
      let seconds = max((ContinuousClock.now - started).seconds, 1e-9)
      points.append(measure.point(nprobe: nprobe, found, depths: Self.depths(upTo: options.k), seconds: seconds))
    }
    return try catalog.recordEvaluation(
      Evaluation(
        version: name, queries: options.queries.lastPathPart, queriesDigest: queriesDigest,
        queryCount: queries.rowCount, rowCount: searcher.rowCount, nlist: searcher.nlist, truthDigest: truthDigest,
        threads: options.threads, imbalance: filing.imbalance, listSizes: filing.histogram,
        environment: options.environment, points: points), of: version)
  }

  // MARK: Ground truth

  /// The exact neighbours of the queries among the rows of a version, from an
  /// earlier evaluation where there was one.
  private func groundTruth(of version: IndexVersion) throws -> (ExactNeighbors, ContentDigest) {
    let inputs = try catalog.inputs(of: version).filter { !$0.isHole }
    let normalisation = try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
    let source = try catalog.source(id: version.sourceID)
    let key = try catalog.truthKey(
      queries: queriesDigest, k: options.k, of: version, normalisation: normalisation.rawValue)
    var truth = try ExactNeighbors(queries: queries.matrix, k: options.k)
    if let known = try catalog.nearestImages(of: key), let path = try? store.verified(.evaluationTruth, known) {
      try truth.load(path, inputs: key)
      return (truth, known)
    }
    let missing = inputs.filter { $0.path == nil }
    guard missing.isEmpty else { throw source.missing(missing.map(\.shardName), of: inputs.count) }
    // An id and a score for each neighbour.
    try catalog.requireRoom(
      for: "the exact neighbours of the queries",
      [RoomNeed(at: catalog.layout.artifacts, byteCount: 12 * options.k * queries.rowCount)])
    let rows = inputs.reduce(0) { $0 + $1.rowCount }
    var rowsDone = 0
    for input in inputs {
      guard let path = input.path, let revision = input.revision else { continue }
      try cancellation.check()
      let file = try source.pinned(path, revision, in: catalog).open()
      file.matrix.advise(.sequential)
      try truth.add(file.matrix, firstID: input.firstID, normalisation) {
        try cancellation.check()
        report(.exact(rowsDone: rowsDone + $0, rows: rows))
      }
      rowsDone += input.rowCount
    }
    let working = try store.workingPath("exact-\(key.prefix(16))")
    let digest = try truth.save(as: working, inputs: key)
    let byteCount = Disk.size(of: working) ?? 0
    try store.put(working, as: .evaluationTruth, digest) {
      try catalog.recordNearest(
        .evaluationTruth, of: key, digest: digest, byteCount: byteCount, pairCount: queries.rowCount)
    }
    return (truth, digest)
  }

  // MARK: Where the true neighbours are

  private func locate(_ truth: ExactNeighbors, in paths: [String]) throws -> Filing {
    var filing = Filing(wanted: truth.ids)
    var trained: TrainedIndex?
    for (number, path) in paths.enumerated() {
      try cancellation.check()
      report(.locating(output: number, of: paths.count))
      let output = try OutputShardFile(path: path, sharing: trained)
      trained = output.trained
      try filing.add(output)
    }
    return filing
  }
}
