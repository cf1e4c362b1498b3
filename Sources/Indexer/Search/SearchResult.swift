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
