// What is counted in an evaluation: the lists that true neighbours are in, the
// rows that are looked at, and how much of the truth comes back.

package import Base

/// Which list each wanted row is in, and how long the lists are.
package struct Filing {
  /// List of each wanted row that an output holds.
  package private(set) var lists: [RowID: UInt32] = [:]
  /// Rows of each list over all outputs, `[nlist]`.
  package private(set) var sizes: [UInt64] = []
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
    if sizes.isEmpty { sizes = [UInt64](repeating: 0, count: nlist) }
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
  private let queries: [Float]

  /// Lists of queries that are held at a time: all of them would be queries × nprobe.
  private static let heldLists = 1 << 22

  /// Prepares to count.
  ///
  /// - Parameters:
  ///   - truth: The exact neighbours of the queries.
  ///   - filing: Where they are.
  ///   - queries: The queries, `[n × dimension]`, finite.
  package init(truth: ExactNeighbors, filing: Filing, queries: [Float]) {
    (self.truth, self.filing, self.queries) = (truth, filing, queries)
  }

  /// Which true neighbours lie in lists that a search visits, `[n × k]`, and the rows of those lists, of all queries.
  private func visited(_ nprobe: Int, by searcher: VersionSearcher, threads: Int) throws -> (
    truth: [Bool], rowCount: Double
  ) {
    var visited = [Bool](repeating: false, count: truth.ids.count)
    var rowCount = 0.0
    let all = 0..<truth.counts.count
    let isWhole = nprobe >= searcher.nlist
    var isOwn = [Bool](repeating: isWhole, count: searcher.nlist)
    let width = max(Self.heldLists / max(nprobe, 1), 1)
    for first in stride(from: 0, to: all.upperBound, by: width) {
      let some = first..<min(first + width, all.upperBound)
      let vectors = queries[some.lowerBound * searcher.dimension..<some.upperBound * searcher.dimension]
      let lists = try isWhole ? [] : searcher.visitedLists(Array(vectors), nprobe: nprobe, threads: threads)
      for query in some {
        let own = isWhole ? [] : lists[query - first]
        for list in own { isOwn[Int(list)] = true }
        for slot in query * truth.k..<query * truth.k + Int(truth.counts[query]) {
          visited[slot] = filing.lists[truth.ids[slot]].map { isOwn[Int($0)] } ?? false
        }
        for list in own {
          isOwn[Int(list)] = false
          rowCount += Double(filing.sizes[Int(list)])
        }
      }
    }
    if isWhole { rowCount = Double(all.count) * filing.sizes.reduce(0) { $0 + Double($1) } }
    return (visited, rowCount)
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
  ///   - searcher: What searched, which says the lists that it visits.
  ///   - threads: Threads to use.
  ///   - depths: The k to look at, each at most the truth's.
  ///   - seconds: What the search took.
  /// - Returns: The point.
  /// - Throws: ``TarnError`` as a search.
  package func point(
    nprobe: Int, _ result: SearchResult, from searcher: VersionSearcher, threads: Int = 1, depths: [Int],
    seconds: Double
  ) throws -> EvaluationPoint {
    let queryCount = truth.counts.count
    // What is divided by it is 0 where there are none.
    let n = Double(max(queryCount, 1))
    let visited = try visited(nprobe, by: searcher, threads: threads)
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
        routed += Double(slots.count { visited.truth[$0] }) / Double(wanted.count)
      }
      let mean = sum / n
      let variance = n > 1 ? max(0, (squares - n * mean * mean) / (n - 1)) : 0
      return RecallPoint(
        k: depth, recall: mean, standardError: (variance / n).squareRoot(), routingRecall: routed / n)
    }
    return EvaluationPoint(
      nprobe: nprobe, vectorsScanned: visited.rowCount / n, seconds: seconds, recalls: recalls)
  }
}
