// What a search answers.

/// The global id of a vector: first id of its shard + row in the shard.
package typealias RowID = Int64

/// A row that was found, with its score.
package struct Neighbor: Sendable, Equatable {
  package let id: RowID
  /// Inner product of the query and the decoded vector.
  package let score: Float

  package init(id: RowID, score: Float) { (self.id, self.score) = (id, score) }
}

/// The neighbours of a batch of queries.
package struct SearchResult: Sendable, Equatable {
  /// Neighbours asked for.
  package let k: Int
  /// Neighbours found for each query, `[n]`, each `0...k`; fewer than `k` when
  /// the visited lists held fewer rows.
  package internal(set) var counts: [Int]
  /// Row ids, best first, `[n × k]`, missing ones -1.
  package internal(set) var paddedIDs: [RowID]
  /// Scores, `[n × k]`, missing ones the least finite float, as FAISS pads
  /// them.
  package internal(set) var paddedScores: [Float]
  /// Rows in the visited lists of each query, `[n]`.
  package internal(set) var visitedRows: [Int]

  init(k: Int, queryCount: Int) {
    self.k = k
    counts = [Int](repeating: 0, count: queryCount)
    paddedIDs = [RowID](repeating: -1, count: queryCount * k)
    paddedScores = [Float](repeating: -.greatestFiniteMagnitude, count: queryCount * k)
    visitedRows = counts
  }

  /// Puts the best of some scored rows in the place of a query's neighbours, which are none yet.
  ///
  /// - Parameters:
  ///   - rows: Rows with their scores, in any order; of equal scores the lower id comes first.
  ///   - query: The query.
  mutating func keepBest(of rows: [(id: RowID, score: Double)], forQuery query: Int) {
    let best = rows.sorted { $0.score != $1.score ? $0.score > $1.score : $0.id < $1.id }.prefix(k)
    counts[query] = best.count
    for (rank, row) in best.enumerated() {
      paddedIDs[query * k + rank] = row.id
      paddedScores[query * k + rank] = Float(row.score)
    }
  }

  /// Takes the rows of a batch's queries, which have ended.
  mutating func take(_ queries: ScanQueries, _ batch: Range<Int>) {
    for query in batch {
      counts[query] = queries.read(query - batch.lowerBound) { rank, id, score in
        paddedIDs[query * k + rank] = id
        paddedScores[query * k + rank] = Float(score)
      }
    }
  }

  /// How many queries were asked.
  package var queryCount: Int { counts.count }

  /// One query's neighbours, best first.
  package func neighbors(ofQuery query: Int) -> [Neighbor] {
    (query * k..<query * k + counts[query]).map { Neighbor(id: paddedIDs[$0], score: paddedScores[$0]) }
  }

  /// One row per query, best first; shorter than `k` when the visited lists
  /// held fewer rows.
  package var neighbors: [[Neighbor]] { counts.indices.map(neighbors(ofQuery:)) }
}
