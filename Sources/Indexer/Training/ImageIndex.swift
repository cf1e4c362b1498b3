// The lists of a training's images that `--nearest index` looks through (DESIGN 4.1):
// made by k-means on a sample, with the exact assignment, so that they are the same on
// every machine; and what is found in them, exactly.

package import Base
package import Features
internal import Foundation
package import Logging

/// The images of a training in lists, for the time of the training.
///
/// 1. *Centroids.* ``ImageIndexPlan/iterations`` of spherical ``PairedKMeans`` on the sample of
///    ``ImageIndexPlan/sample(of:seed:)``, begun with the training's seed.
/// 2. *Lists.* Every image goes to the centroid with the greatest score, the lowest of equal ones.
/// 3. *Search.* A query ranks lists by the score of their centroids, the lower of equal ones first, and is
///    compared with every image of the first nprobe. Those with the greatest scores are its nearest, of equal
///    scores the lowest row. A query whose lists hold too few images is compared with all.
///
/// Scores are those of DESIGN 4.3, so neither threads, blocks nor the CPU show.
package struct ImageIndex: Sendable {
  private let images: FeatureMatrix
  private let centroids: FeatureMatrix
  /// Image rows by list.
  private let lists: GroupedNumbers
  private let pool: WorkerPool
  private let backend: AssignmentBackend?
  private let logger: Logger

  /// What is being done, and how far it is.
  package enum Progress: Sendable, Equatable {
    case iterated(Int)
    case filed(Int)
    case found(Int)
  }

  /// Makes the lists, or goes on where an earlier run was.
  ///
  /// - Parameters:
  ///   - path: An `.npy` file of images, rows of unit length.
  ///   - digest: Its SHA-256.
  ///   - seed: The training's.
  ///   - directory: Where the sample and the state are kept.
  ///   - blockRowCount: Images that are filed between two checkpoints.
  ///   - interval: How often the lists so far are saved, at most.
  ///   - pool: The threads; nil for the process's.
  ///   - backend: How to compute; nil for the process's choice.
  ///   - logger: Gets a warning when a backend is dropped.
  ///   - checkpoint: Told of progress; may throw to stop.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package init(
    of path: String, digest: ContentDigest, seed: UInt64, in directory: String, blockRowCount: Int = 1 << 18,
    savingEvery interval: Duration = .seconds(30),
    pool: WorkerPool? = nil, backend: AssignmentBackend? = nil, logger: Logger = Logger(label: "tarn.engine"),
    checkpoint: (Progress) throws -> Void = { _ in }
  ) throws {
    let file = try FeatureFile(path)
    (images, self.pool, self.backend, self.logger) = (file.matrix, try pool ?? .shared, backend, logger)
    let plan = ImageIndexPlan(imageCount: images.rowCount)
    let fingerprint = ContentDigest.of(
      "\(ImageIndexPlan.rule) \(images.rowCount) \(plan.nlist) \(plan.sampleCount) \(ImageIndexPlan.iterations) seed \(seed)\nimages \(digest)"
    )
    let listed = directory + "/nearest-lists.state"
    var state =
      try Self.load(listed, fingerprint, plan, images)
      ?? (
        Self.cluster(
          file, plan, seed: seed, fingerprint, in: directory, pool: self.pool, backend: backend, logger: logger,
          checkpoint),
        []
      )
    let centroids = FeatureMatrix(state.centroids, dimension: images.dimension)
    self.centroids = centroids
    if state.lists.count < images.rowCount {
      let engine = try AssignmentEngine(
        rows: centroids, backend: backend, pool: self.pool, expectedVectorCount: images.rowCount, logger: logger)
      var saved = ContinuousClock.now
      while state.lists.count < images.rowCount {
        let first = state.lists.count
        state.lists += try engine.best(of: images, in: first..<min(first + blockRowCount, images.rowCount)).rows
        try checkpoint(.filed(state.lists.count))
        guard state.lists.count == images.rowCount || ContinuousClock.now - saved >= interval else { continue }
        try Self.save(state, fingerprint, as: listed)
        saved = .now
      }
      for name in ["nearest-sample.npy", "nearest-kmeans.state"] { try? Disk.remove("\(directory)/\(name)") }
    }
    lists = GroupedNumbers(by: state.lists, keyCount: plan.nlist)
  }

  /// The centroids of the sample.
  private static func cluster(
    _ file: FeatureFile, _ plan: ImageIndexPlan, seed: UInt64, _ fingerprint: ContentDigest, in directory: String,
    pool: WorkerPool, backend: AssignmentBackend?, logger: Logger, _ checkpoint: (Progress) throws -> Void
  ) throws -> [Float] {
    let path = directory + "/nearest-sample.npy"
    var writer = try TrainingMatrixWriter(
      creating: path + ".tmp", elementType: file.elementType, rowCount: plan.sampleCount, dimension: file.dimension)
    try writer.append(plan.sample(of: file.rowCount, seed: seed), of: file)
    _ = try writer.finish(as: path)
    let sample = try FeatureFile(path).matrix
    let kmeans = try PairedKMeans(
      images: sample, captions: sample, nearestImages: nil, nlist: plan.nlist, seed: seed, inputs: fingerprint,
      pool: pool, backend: backend, logger: logger)
    let saved = directory + "/nearest-kmeans.state"
    var state = try (try? kmeans.load(saved)) ?? kmeans.initialState()
    while state.iteration < ImageIndexPlan.iterations {
      try kmeans.step(&state)
      try kmeans.save(state, as: saved)
      try checkpoint(.iterated(state.iteration))
    }
    return state.centroids
  }

  private static func save(
    _ state: (centroids: [Float], lists: [UInt32]), _ fingerprint: ContentDigest, as path: String
  ) throws {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnlist", fingerprint: fingerprint)
    try writer.write(state.centroids)
    try writer.write(state.lists)
    _ = try writer.finish(as: path)
  }

  /// A saved state; nil where none can be used.
  private static func load(
    _ path: String, _ fingerprint: ContentDigest, _ plan: ImageIndexPlan, _ images: FeatureMatrix
  ) -> (centroids: [Float], lists: [UInt32])? {
    guard var reader = try? StateReader(path, magic: "tarnlist", fingerprint: fingerprint),
      let centroids = try? reader.read(Float.self), let lists = try? reader.read(UInt32.self),
      centroids.count == plan.nlist * images.dimension, lists.count <= images.rowCount,
      lists.allSatisfy({ Int($0) < plan.nlist })
    else { return nil }
    return (centroids, lists)
  }

  // MARK: Search

  /// Pairs of a query and a list that are held at a time.
  private static let pairCount = 1 << 24
  /// Queries that rank lists, or are compared with the images of one, at a time where
  /// more than the best is asked for.
  private static let batch = 8192
  /// Images of a list that are widened at a time.
  private static let listBlock = 1 << 16

  /// Finds the nearest images of queries, or goes on where an earlier run was.
  ///
  /// - Parameters:
  ///   - k: Images for each; of fewer images, all of them.
  ///   - queries: `[n × dimension]`, finite.
  ///   - nprobe: Lists to look through, `1...`; all of fewer.
  ///   - inputs: Identifies images, queries, k and nprobe; a state saved for others is not used.
  ///   - path: Where the state is kept.
  ///   - blockCount: Queries between two checkpoints; nil for what 128 MiB hold.
  ///   - interval: How often the state is saved, at most.
  ///   - checkpoint: Told of queries done; may throw to stop.
  /// - Returns: `[n × k]` rows, nearest first, and their scores.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package func find(
    _ k: Int, of queries: FeatureMatrix, nprobe: Int, inputs: ContentDigest, resumingAt path: String,
    blockCount: Int? = nil, savingEvery interval: Duration = .seconds(30),
    checkpoint: (Progress) throws -> Void = { _ in }
  ) throws -> RowsFound {
    let (k, nprobe) = (min(k, images.rowCount), min(nprobe, centroids.rowCount))
    let fingerprint = ContentDigest.of("nearest-found-1 \(queries.rowCount) \(k) \(nprobe)\ninputs \(inputs)")
    let block = blockCount ?? max(Self.batch, Self.pairCount / nprobe)
    var (rows, scores) = Self.loadFound(path, fingerprint, k, queries, images) ?? ([], [])
    var saved = ContinuousClock.now
    while rows.count < queries.rowCount * k {
      let first = rows.count / k
      let found = try find(k, of: queries, in: first..<min(first + block, queries.rowCount), nprobe) {
        try checkpoint(.found(first))
      }
      rows += found.rows
      scores += found.scores
      try checkpoint(.found(rows.count / k))
      guard ContinuousClock.now - saved >= interval else { continue }
      var writer = try StateWriter(creating: path + ".tmp", magic: "tarnprob", fingerprint: fingerprint)
      try writer.write(rows)
      try writer.write(scores)
      _ = try writer.finish(as: path)
      saved = .now
    }
    return RowsFound(k: k, rows: rows, scores: scores)
  }

  private static func loadFound(
    _ path: String, _ fingerprint: ContentDigest, _ k: Int, _ queries: FeatureMatrix, _ images: FeatureMatrix
  ) -> ([UInt32], [Double])? {
    guard var reader = try? StateReader(path, magic: "tarnprob", fingerprint: fingerprint),
      let rows = try? reader.read(UInt32.self), let scores = try? reader.read(Double.self),
      rows.count == scores.count, rows.count % k == 0, rows.count <= queries.rowCount * k,
      rows.allSatisfy({ Int($0) < images.rowCount })
    else { return nil }
    return (rows, scores)
  }

  /// One block of queries: list by list, so that the images of each are widened once.
  private func find(
    _ k: Int, of queries: FeatureMatrix, in range: Range<Int>, _ nprobe: Int, _ checkpoint: () throws -> Void
  ) throws -> (rows: [UInt32], scores: [Double]) {
    var probed: [UInt32] = []
    probed.reserveCapacity(range.count * nprobe)
    for first in stride(from: range.lowerBound, to: range.upperBound, by: Self.batch) {
      try checkpoint()
      let block = FeatureMatrix(
        queries.floats(rows: first..<min(first + Self.batch, range.upperBound)), dimension: queries.dimension)
      var ranking = try ExactNeighbors(queries: block, k: nprobe, pool: pool)
      try ranking.add(centroids)
      for id in ranking.ids { probed.append(UInt32(id)) }
    }
    let pairs = GroupedNumbers(by: probed, keyCount: centroids.rowCount)
    probed = []
    var best = BestRows(count: range.count, k: k)
    for list in 0..<centroids.rowCount where !pairs[list].isEmpty && !lists[list].isEmpty {
      try checkpoint()
      let asking = pairs[list].map { $0 / UInt32(nprobe) }
      let listed = lists[list]
      for start in stride(from: listed.startIndex, to: listed.endIndex, by: Self.listBlock) {
        let members = Array(listed[start..<min(start + Self.listBlock, listed.endIndex)])
        let rows = FeatureMatrix(images.floats(ofRows: members.map(Int.init)), dimension: images.dimension)
        try compare(asking, queries, from: range.lowerBound, rows, members, &best)
      }
    }
    let short = (0..<range.count).filter { best.counts[$0] < k }
    if !short.isEmpty {
      let block = FeatureMatrix(
        queries.floats(ofRows: short.map { range.lowerBound + $0 }), dimension: queries.dimension)
      var all = try ExactNeighbors(queries: block, k: k, pool: pool)
      try all.add(images)
      for (place, query) in short.enumerated() {
        let scores = all.scores[(place * k)..<(place * k + k)]
        best.replace(query, rows: all.found(for: place).map { UInt32($0) }, scores: scores)
      }
    }
    return (best.rows, best.scores)
  }

  /// Compares queries with the images of a list.
  private func compare(
    _ asking: [UInt32], _ queries: FeatureMatrix, from first: Int, _ rows: FeatureMatrix, _ members: [UInt32],
    _ best: inout BestRows
  ) throws {
    if best.k == 1 {
      let engine = try AssignmentEngine(rows: rows, backend: backend, pool: pool, logger: logger)
      let found = try engine.best(of: queries, listed: asking.map { UInt32(first) + $0 })
      for (place, query) in asking.enumerated() {
        best.add(members[Int(found.rows[place])], found.scores[place], to: Int(query))
      }
      return
    }
    for start in stride(from: 0, to: asking.count, by: Self.batch) {
      let some = asking[start..<min(start + Self.batch, asking.count)]
      let block = FeatureMatrix(queries.floats(ofRows: some.map { first + Int($0) }), dimension: queries.dimension)
      var found = try ExactNeighbors(queries: block, k: best.k, pool: pool)
      try found.add(rows)
      for (place, query) in some.enumerated() {
        for number in 0..<Int(found.counts[place]) {
          let at = place * best.k + number
          best.add(members[Int(found.ids[at])], found.scores[at], to: Int(query))
        }
      }
    }
  }
}

/// The best rows of each query among those that were added in any order.
private struct BestRows {
  let k: Int
  /// `[count × k]`, best first.
  private(set) var rows: [UInt32]
  private(set) var scores: [Double]
  /// Rows of each, `0...k`.
  private(set) var counts: [Int]

  init(count: Int, k: Int) {
    self.k = k
    rows = [UInt32](repeating: 0, count: count * k)
    scores = [Double](repeating: -.infinity, count: count * k)
    counts = [Int](repeating: 0, count: count)
  }

  /// Puts a row in its place: by score, of equal scores by row.
  mutating func add(_ row: UInt32, _ score: Double, to query: Int) {
    let (start, count) = (query * k, counts[query])
    var at = start + count
    while at > start, scores[at - 1] < score || (scores[at - 1] == score && rows[at - 1] > row) { at -= 1 }
    guard at < start + k else { return }
    if count < k { counts[query] += 1 }
    for place in stride(from: start + counts[query] - 1, to: at, by: -1) {
      rows[place] = rows[place - 1]
      scores[place] = scores[place - 1]
    }
    rows[at] = row
    scores[at] = score
  }

  mutating func replace(_ query: Int, rows: [UInt32], scores: ArraySlice<Double>) {
    self.rows.replaceSubrange((query * k)..<(query * k + k), with: rows)
    self.scores.replaceSubrange((query * k)..<(query * k + k), with: scores)
    counts[query] = k
  }
}
