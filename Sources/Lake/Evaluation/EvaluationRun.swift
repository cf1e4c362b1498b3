// `evaluate`: what a version finds of what exact search finds.
//
// Steps: queries -> ground truth over the original features (streamed, kept as
// an artifact, shared by every version of the same rows; EvaluationTruth) -> the list
// of each true neighbour, read from the outputs -> one search for each nprobe, and the
// lists that it visits -> catalog.

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
  /// What to do about shards that are not in the lake: measure over the others, or
  /// nothing.
  package var missing = MissingPolicy.fail
  /// The source whose rows the ids of an adopted version count; nil for what was said then.
  package var source: String?
  /// A `.npy` of int64 with the exact neighbours of each query, for an adopted version.
  package var truth: String?
  /// Rows of each query that are ordered again by the codes that refine; nil for as many as are of
  /// use where the version has such, 0 for none.
  package var refine: Int?
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
  /// Rows of a sample taken out of an output.
  case sampling(output: Int, of: Int)
  case locating(output: Int, of: Int)
  case searching(nprobe: Int)
}

/// Evaluates one version after another with the same queries.
package struct EvaluationRun: Sendable {
  let catalog: LakeCatalog
  let options: EvaluationOptions
  let store: ArtifactStore
  let queries: FeatureFile
  let queriesDigest: ContentDigest
  let cancellation: Cancellation
  let report: @Sendable (EvaluationProgress) -> Void

  /// Opens the queries.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing: results are recorded.
  ///   - options: What to evaluate.
  ///   - cancellation: Asked often; what is recorded stays.
  ///   - report: Told of progress, on the working thread.
  /// - Throws: ``TarnError`` `.usage` for a parameter out of range,
  ///   and for queries that are NaN, infinite or zero.
  package init(
    _ catalog: LakeCatalog, _ options: EvaluationOptions, cancellation: Cancellation,
    report: @escaping @Sendable (EvaluationProgress) -> Void
  ) throws {
    guard (1...1024).contains(options.k) else { throw TarnError(.usage, "k is \(options.k), not in 1...1024") }
    guard let least = options.nprobes.min(), least >= 1 else {
      throw TarnError(.usage, "--nprobe takes numbers of lists, at least 1")
    }
    // The digest is of the bytes that are measured, or there is none.
    let state = Disk.identity(of: options.queries)
    queries = try QueryFile.open(
      options.queries, orElse: "take one out with `tarn convert \(options.queries) QUERIES.npy --array NAME`")
    guard queries.rowCount > 0 else { throw TarnError(.usage, "\(options.queries) holds no queries") }
    queriesDigest = try Disk.digest(of: options.queries)
    guard Disk.identity(of: options.queries) == state else { throw Disk.changed(options.queries) }
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
  /// - Parameters:
  ///   - name: The version.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  /// - Throws: ``TarnError`` `.conflict` for one that is not sealed, `.usage` for
  ///   queries of another dimension, `.inputsMissing` when exact neighbours have to be
  ///   found and a shard is neither here nor fetched, `.notFound`.
  package func check(_ name: VersionName, fetches: Bool) throws {
    let version = try sealed(name)
    _ = try truthPlan(of: version, fetches: fetches)
    _ = try store.refinePlaces(of: catalog.outputs(of: version), version, forRows: options.refine)
  }

  private func sealed(_ name: VersionName) throws -> IndexVersion {
    let version = try catalog.version(name)
    try version.requireSearchable()
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
  /// - Parameters:
  ///   - name: The version, sealed or revoked.
  ///   - fetch: How to fetch what is not in the lake; nil for not at all.
  ///   - follow: Told what the fetcher does, on its thread.
  /// - Returns: What was recorded.
  /// - Throws: ``TarnError`` as ``check(_:fetches:)`` does; ``TarnError``.
  package func run(
    _ name: VersionName, fetching fetch: SyncOptions?, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> Evaluation {
    cancellation.listen()
    let fetch = fetch?.takingAll
    let plan = try await ThreadedWork("tarn-plan") {
      let version = try sealed(name)
      try catalog.requireBorneOut(version)
      // Before hours of exact search.
      let outputs = try catalog.outputs(of: version)
      for output in outputs { _ = try store.path(ofOutput: output.digest, of: version) }
      _ = try store.refinePlaces(of: outputs, version, forRows: options.refine)
      return try truthPlan(of: version, fetches: fetch != nil)
    }.value()
    let (truth, digest) = try await plan.stream.run(
      catalog, fetching: fetch, thread: "tarn-exact", cancellation: cancellation, follow: follow
    ) { try groundTruth(plan, $0) }
    return try await ThreadedWork("tarn-evaluate") { try measure(plan, truth, digest) }.value()
  }

  private func measure(
    _ plan: TruthPlan, _ truth: ExactNeighbors, _ truthDigest: ContentDigest
  ) throws -> Evaluation {
    let name = plan.version.name
    let outputs = try catalog.outputs(of: plan.version)
    let whole = try outputs.map { try store.path(ofOutput: $0.digest, of: plan.version) }
    let sampled = try plan.sample.map { _ in try sampledOutputs(whole, plan) }
    defer { if let sampled { try? FileManager.default.removeItem(atPath: sampled.directory) } }
    let paths = sampled?.paths ?? whole
    let searcher = try VersionSearcher(
      outputShards: paths, refinedBy: store.refinePlaces(of: outputs, plan.version, forRows: options.refine))
    let candidates = searcher.candidates(for: options.k, refining: options.refine)
    // The files have the last word.
    try requireDimension(searcher.dimension, of: name)
    let filing = try locate(truth, in: paths)
    let nprobes = Set(options.nprobes.map { min($0, searcher.nlist) }).sorted()
    let floats = queries.matrix.floats(rows: 0..<queries.rowCount)
    let measure = RecallMeasure(truth: truth, filing: filing, queries: floats)
    var points: [EvaluationPoint] = []
    for nprobe in nprobes {
      try cancellation.check()
      report(.searching(nprobe: nprobe))
      let (found, seconds) = try timed {
        try searcher.search(
          floats, k: options.k, refining: candidates, nprobe: nprobe, threads: options.threads)
      }
      points.append(
        try measure.point(
          nprobe: nprobe, found, from: searcher, threads: options.threads, depths: Self.depths(upTo: options.k),
          seconds: seconds))
    }
    return try catalog.recordEvaluation(
      Evaluation(
        version: name, queries: options.queries.lastPathPart, queriesDigest: queriesDigest,
        queryCount: queries.rowCount, rowCount: searcher.rowCount, nlist: searcher.nlist, truthDigest: truthDigest,
        threads: options.threads, imbalance: filing.imbalance, listSizes: filing.histogram,
        environment: Evaluation.environment(options.environment, sample: plan.sample, refinedRows: candidates),
        points: points),
      of: plan.version)
  }

  /// What the outputs of a version would be, had it been built from the sampled shards
  /// alone, in scratch.
  private func sampledOutputs(_ paths: [String], _ plan: TruthPlan) throws -> (directory: String, paths: [String]) {
    let directory = "\(catalog.layout.scratch)/\(catalog.workingPrefix)evaluate-\(plan.key.prefix(16))"
    try? FileManager.default.removeItem(atPath: directory)
    let rows = plan.inputs.reduce(0) { $0 + $1.rowCount }
    let all = try catalog.outputs(of: plan.version).reduce(0) { $0 + $1.rowCount }
    let byteCount = paths.reduce(0) { $0 + (Disk.size(of: $1) ?? 0) }
    let share = min(1, Double(rows) / Double(max(all, 1)))
    try catalog.requireRoom(
      for: "the sampled rows of \(plan.version.name)",
      [RoomNeed(at: catalog.layout.scratch, byteCount: Int(Double(byteCount) * share))])
    try Disk.makeDirectory(directory)
    var isWhole = false
    defer { if !isWhole { try? FileManager.default.removeItem(atPath: directory) } }
    let ranges = plan.inputs.map(\.ids)
    var trained: TrainedIndex?
    var written: [String] = []
    for (number, path) in paths.enumerated() {
      report(.sampling(output: number, of: paths.count))
      let output = try OutputShardFile(path: path, sharing: trained)
      trained = output.trained
      written.append("\(directory)/\(number).faiss")
      try output.write(idsIn: ranges, to: written[number]) { try cancellation.check() }
    }
    isWhole = true
    return (directory, written)
  }

  // MARK: Where the true neighbours are

  /// A search, and what it takes: the median of as many passes as a second holds, of 15 at most.
  ///
  /// A pass of milliseconds says more of the moment than of the index.
  private func timed(_ search: () throws -> SearchResult) throws -> (found: SearchResult, seconds: Double) {
    var passes: [Double] = []
    while true {
      let started = ContinuousClock.now
      let found = try search()
      passes.append(max((ContinuousClock.now - started).seconds, 1e-9))
      try cancellation.check()
      if passes.count >= 15 || passes.reduce(0, +) >= 1 { return (found, passes.sorted()[passes.count / 2]) }
    }
  }

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
