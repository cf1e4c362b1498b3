// What is counted in an evaluation: the lists that true neighbours are in, the
// rows that are looked at, and how much of the truth comes back.

package import Base

/// Which list each wanted row is in, and how long the lists are.
package struct Filing {
  /// List of each wanted row that an output holds.
  package private(set) var lists: [RowID: UInt32] = [:]
  /// Rows of each list over all outputs, `[nlist]`.
  package private(set) var sizes: [UInt64] = []
  /// What queries are compared with to rank lists, `[nlist × dimension]`.
  package private(set) var centroids: [Float] = []
  /// Ascending.
  private let wanted: [RowID]

  /// Prepares to look for rows.
  ///
  /// - Parameter wanted: Row ids in any order; repeats and -1 are fine.
  package init(wanted: [RowID]) { self.wanted = Set(wanted).filter { $0 >= 0 }.sorted() }

  /// Looks through the ids of an output.
  ///
  /// - Parameter shard: An output of the version.
  /// - Throws: ``TarnError`` when reading fails.
  package mutating func add(_ shard: OutputShardFile) throws {
    let nlist = shard.trained.nlist
    if sizes.isEmpty {
      sizes = [UInt64](repeating: 0, count: nlist)
      centroids = shard.trained.centroids
    }
    for list in 0..<nlist {
      sizes[list] += UInt64(shard.size(ofList: list))
      for id in try shard.ids(ofList: list) where isWanted(id) { lists[id] = UInt32(list) }
    }
  }

  private func isWanted(_ id: RowID) -> Bool {
    let place = wanted.partitioningIndex { $0 >= id }
    return place < wanted.count && wanted[place] == id
  }

  /// nlist·Σn² / (Σn)² over rows per list, `1...nlist`; 1 is even.
  package var imbalance: Double {
    let total = sizes.reduce(0.0) { $0 + Double($1) }
    let squares = sizes.reduce(0.0) { $0 + Double($1) * Double($1) }
    return total > 0 ? Double(sizes.count) * squares / (total * total) : 1
  }

  /// How many lists are how long.
  ///
  /// Entry 0 counts the empty ones, entry b those of 2^(b-1) ..< 2^b rows.
  package var histogram: [Int] {
    var bins: [Int] = []
    for size in sizes {
      let bin = UInt64.bitWidth - size.leadingZeroBitCount
      while bins.count <= bin { bins.append(0) }
      bins[bin] += 1
    }
    return bins
  }
}

/// Counts what a search brought back.
package struct RecallMeasure {
  private let truth: ExactNeighbors
  private let filing: Filing
  private let ranking: ExactNeighbors
  /// Per true neighbour `[n × k]` the place of its list in the query's
  /// ranking; `Int.max` when it is beyond.
  private let places: [Int]

  /// Prepares to count.
  ///
  /// - Parameters:
  ///   - truth: The exact neighbours of the queries.
  ///   - filing: Where they are.
  ///   - ranking: The lists of each query, best first, as many as will be
  ///     visited at most.
  package init(truth: ExactNeighbors, filing: Filing, ranking: ExactNeighbors) {
    (self.truth, self.filing, self.ranking) = (truth, filing, ranking)
    var places = [Int](repeating: Int.max, count: truth.ids.count)
    for query in truth.counts.indices {
      var place: [UInt32: Int] = [:]
      for (position, list) in ranking.found(for: query).enumerated() { place[UInt32(list)] = position }
      for slot in (query * truth.k)..<(query * truth.k + Int(truth.counts[query])) {
        places[slot] = filing.lists[truth.ids[slot]].flatMap { place[$0] } ?? Int.max
      }
    }
    self.places = places
  }

  /// What a search that visits `nprobe` lists found.
  ///
  /// Recall at k of a query is the share of its k true neighbours among the
  /// first k rows that came back; routing recall is the share whose list was
  /// visited, and what lies between the two is the codec's loss. Both are
  /// means over queries; the standard error is that of the mean. A query without
  /// true neighbours, as of a version without rows, counts as 0; of no queries
  /// every mean is 0.
  ///
  /// - Parameters:
  ///   - nprobe: Lists visited.
  ///   - result: What came back, a row for each query.
  ///   - depths: The k to look at, each at most the truth's.
  ///   - seconds: What the search took.
  /// - Returns: The point.
  package func point(nprobe: Int, _ result: SearchResult, depths: [Int], seconds: Double) -> EvaluationPoint {
    let queryCount = truth.counts.count
    // What is divided by it is 0 where there are none.
    let n = Double(max(queryCount, 1))
    var scanned = 0.0
    for query in 0..<queryCount {
      for list in ranking.found(for: query).prefix(nprobe) { scanned += Double(filing.sizes[Int(list)]) }
    }
    let neighbors = result.neighbors
    let recalls = depths.map { depth in
      var (sum, squares, routed) = (0.0, 0.0, 0.0)
      for query in 0..<queryCount {
        let wanted = truth.found(for: query).prefix(depth)
        guard !wanted.isEmpty else { continue }
        let found = Set(neighbors[query].prefix(depth).map(\.id))
        let share = Double(wanted.count { found.contains($0) }) / Double(wanted.count)
        sum += share
        squares += share * share
        let slots = (query * truth.k)..<(query * truth.k + wanted.count)
        routed += Double(slots.count { places[$0] < nprobe }) / Double(wanted.count)
      }
      let mean = sum / n
      let variance = n > 1 ? max(0, (squares - n * mean * mean) / (n - 1)) : 0
      return RecallPoint(
        k: depth, recall: mean, standardError: (variance / n).squareRoot(), routingRecall: routed / n)
    }
    return EvaluationPoint(
      nprobe: nprobe, vectorsScanned: scanned / n, seconds: seconds, recalls: recalls)
  }
}
