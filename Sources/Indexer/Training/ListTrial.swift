// Lists of captions beside lists of images, tried on a part of the pairs with queries like
// those that will be asked: what `train --queries` says (DESIGN 4.2c).

internal import Base
package import Features
package import Logging

/// What two ways to make lists find of the images nearest to some queries.
///
/// 1. *Pairs and queries.* One pair, drawn, of each of ``mostPairs`` equal stretches, or all of fewer; of queries
///    ``mostQueries`` likewise, and no fewer than ``leastQueries``.
/// 2. *Lists.* ``iterations`` of ``PairedKMeans`` on these pairs, and of the control on their images; every
///    image in the list whose centroid has the greatest score. As many lists both times: as many as are asked for,
///    ``mostLists`` at most, halved until a quarter of the distinct nearest images has room for them. Lists of captions
///    take the steps on images, too, that a training with a router takes.
/// 3. *Search.* A query reads lists by the scores of their centroids until it has read ``share`` of the images,
///    of the last list a part. Of its ``k`` nearest images it finds those of the lists that it read, of the last one that part.
///
/// No router is tried: one ranks lists, and what lists do not hold together no ranking finds (RECALL).
package struct ListTrial: Sendable, Equatable {
  /// Pairs that lists were made of.
  package let pairCount: Int
  package let queryCount: Int
  package let nlist: Int
  /// Found of a query's nearest images, `0...1`, the mean over queries.
  package let paired, plain: Double
  /// Standard error of the mean of what one finds more than the other.
  package let error: Double

  package static let mostPairs = 16_384
  package static let mostQueries = 1_000
  /// Of fewer queries the error says too little.
  package static let leastQueries = 30
  package static let mostLists = 256
  /// Fewer lists say nothing.
  package static let leastLists = 16
  /// Distinct nearest images for each list.
  package static let imagesPerList = 4
  package static let iterations = 10
  /// Nearest images of a query that are looked for.
  package static let k = 10
  /// Of the images, what a query reads.
  package static let share = 0.02
  /// A smaller lead is none, whatever its error.
  private static let leastLead = 0.02

  /// The way that finds more by so much that it is no chance; nil for neither.
  package var leader: TrainingMethod? {
    let lead = paired - plain
    guard abs(lead) >= max(Self.leastLead, 2 * error) else { return nil }
    return lead > 0 ? .paired : .kmeans
  }

  /// Tries both ways; nil where there are too few pairs or queries to say.
  ///
  /// - Parameters:
  ///   - images: `[n × dimension]`, rows of unit length.
  ///   - captions: `[n × dimension]`, theirs.
  ///   - queries: `[m × dimension]`, finite.
  ///   - lists: Lists that are asked for, `1...`; fewer than ``leastLists`` count as so many.
  ///   - refinements: Steps on the images that lists of captions take.
  ///   - backend: How to assign; nil for the process's choice.
  ///   - logger: Gets a warning when a backend is dropped.
  ///   - checkpoint: Called between steps; may throw to stop.
  /// - Throws: ``TarnError`` `.badFeatures`, `.engine`; what `checkpoint` throws.
  package init?(
    images: FeatureMatrix, captions: FeatureMatrix, queries: FeatureMatrix, lists: Int = ListTrial.mostLists,
    refinements: Int = 0, backend: AssignmentBackend? = nil,
    logger: Logger = Logger(label: "tarn.engine"), checkpoint: () throws -> Void = {}
  ) throws {
    precondition(images.rowCount == captions.rowCount, "images and captions are pairs")
    guard queries.rowCount >= Self.leastQueries else { return nil }
    let pairs = images.spreadRows(Self.mostPairs, seed: 1)
    let (images, captions) = (images.copy(ofRows: pairs), captions.copy(ofRows: pairs))
    let queries = queries.copy(ofRows: queries.spreadRows(Self.mostQueries, seed: 2))
    let nearest = try AssignmentEngine(rows: images, backend: backend, logger: logger).best(of: captions).rows
    var nlist = Self.count(of: lists)
    let distinct = Set(nearest).count
    while nlist > distinct / Self.imagesPerList { nlist /= 2 }
    guard nlist >= Self.leastLists else { return nil }
    try checkpoint()
    var truth = try ExactNeighbors(queries: queries, k: Self.k)
    try truth.add(images)
    func kmeans(_ captions: FeatureMatrix, _ nearest: [UInt32]?) throws -> PairedKMeans {
      try PairedKMeans(
        images: images, captions: captions, nearestImages: nearest, nlist: nlist, seed: 1,
        inputs: .of("a trial, of which no state is kept"), backend: backend, logger: logger)
    }
    func found(_ captions: FeatureMatrix, _ nearest: [UInt32]?) throws -> [Double] {
      func step(_ kmeans: PairedKMeans, _ state: inout KMeansState, to last: Int) throws {
        while state.iteration < last {
          try checkpoint()
          try kmeans.step(&state)
        }
      }
      let first = try kmeans(captions, nearest)
      var state = try first.initialState()
      try step(first, &state, to: Self.iterations)
      if nearest != nil, refinements > 0 {
        state = KMeansState(iteration: 0, centroids: state.centroids, cells: [], history: [])
        try step(kmeans(images, nil), &state, to: refinements)
      }
      let centroids = FeatureMatrix(state.centroids, dimension: images.dimension)
      return try Self.found(of: truth, queries, in: images, by: centroids, backend, logger)
    }
    let (paired, plain) = (try found(captions, nearest), try found(images, nil))
    let count = Double(queries.rowCount)
    let leads = zip(paired, plain).map { $0 - $1 }
    let lead = leads.reduce(0, +) / count
    let squares = leads.reduce(0) { $0 + ($1 - lead) * ($1 - lead) }
    error = (squares / (count - 1) / count).squareRoot()
    self.paired = paired.reduce(0, +) / count
    self.plain = plain.reduce(0, +) / count
    (pairCount, queryCount, self.nlist) = (images.rowCount, queries.rowCount, nlist)
  }

  /// How many lists of each kind are made at most where so many are asked for.
  package static func count(of lists: Int) -> Int { max(leastLists, min(mostLists, lists)) }

  /// What each query finds of its nearest images, `0...1`.
  private static func found(
    of truth: ExactNeighbors, _ queries: FeatureMatrix, in images: FeatureMatrix, by centroids: FeatureMatrix,
    _ backend: AssignmentBackend?, _ logger: Logger
  ) throws -> [Double] {
    let lists = try AssignmentEngine(rows: centroids, backend: backend, logger: logger).best(of: images).rows
    var sizes = [Double](repeating: 0, count: centroids.rowCount)
    for list in lists { sizes[Int(list)] += 1 }
    var ranked = try ExactNeighbors(queries: queries, k: centroids.rowCount)
    try ranked.add(centroids)
    return (0..<queries.rowCount).map { query in
      var left = share * Double(images.rowCount)
      var read = [Double](repeating: 0, count: centroids.rowCount)
      for list in ranked.found(for: query) where left > 0 && sizes[Int(list)] > 0 {
        read[Int(list)] = min(1, left / sizes[Int(list)])
        left -= sizes[Int(list)]
      }
      let nearest = truth.found(for: query)
      return nearest.reduce(0) { $0 + read[Int(lists[Int($1)])] } / Double(nearest.count)
    }
  }
}
