// Ordering found rows by their original features, which a 4-bit code has lost
// some of.

internal import Base
internal import CRows
package import Features

/// The original features of a version's rows, for the scores of a few.
///
/// The score is `crows_score` of the query and the row as it was encoded:
/// as it is, or of unit length when the version was trained with `--normalise`.
package final class Reranker {
  /// Row ids of each shard, ascending and disjoint.
  private let ranges: [Range<RowID>]
  private let dimension: Int
  private let normalisation: Normalisation
  private let open: (Int) throws -> FeatureRows
  /// The shard that is open: its rows may take room of their own.
  private var current: (place: Int, file: FeatureRows)?

  /// Rows of a shard that are taken out of it at once, which bounds their memory.
  private static let rowsAtOnce = 4096

  /// Takes up a version; its shards are opened when a row of theirs is found.
  ///
  /// - Parameters:
  ///   - ranges: Row ids of each shard, ascending and disjoint.
  ///   - dimension: Elements of a row.
  ///   - normalisation: What training did about lengths.
  ///   - open: Gives the shard at a place in `ranges`, its bytes trusted.
  package init(
    ranges: [Range<RowID>], dimension: Int, normalisation: Normalisation, open: @escaping (Int) throws -> FeatureRows
  ) {
    self.ranges = ranges
    self.dimension = dimension
    self.normalisation = normalisation
    self.open = open
  }

  /// Scores found rows again and keeps the best.
  ///
  /// - Parameters:
  ///   - found: Rows of each query, more than are wanted.
  ///   - queries: The queries, `[found.queryCount × dimension]`.
  ///   - k: Rows to keep for each, `1...found.k`.
  /// - Returns: The best `k` of each query by the new scores, ties by the lower
  ///   id.
  /// - Throws: ``TarnError`` `.inputsMissing` when a shard with one of the
  ///   rows is not in the lake, `.integrity` when it is not the shard.
  package func rerank(_ found: SearchResult, queries: [Float], k: Int) throws -> SearchResult {
    precondition(k <= found.k && queries.count == found.queryCount * dimension, "these are other queries")
    var result = SearchResult(k: k, queryCount: found.queryCount)
    result.visitedRows = found.visitedRows
    // By id over all queries: a shard is opened once, and only one at a time.
    var rows = (0..<found.queryCount).flatMap { query in
      found.neighbors(ofQuery: query).map { (id: $0.id, query: query) }
    }
    rows.sort { ($0.id, $0.query) < ($1.id, $1.query) }
    var scored = [[(id: RowID, score: Double)]](repeating: [], count: found.queryCount)
    var rest = rows[...]
    while let first = rest.first {
      let place = try place(of: first.id)
      let (numbers, count) = stretch(of: rest, in: ranges[place])
      let matrix = try file(place).matrix(ofRows: numbers)
      var index = 0
      for (id, query) in rest.prefix(count) {
        if numbers[index] != Int(id - ranges[place].lowerBound) { index += 1 }
        let values = matrix.scoredRows(index..<(index + 1), normalisation)
        let vector = Array(queries[query * dimension..<(query + 1) * dimension])
        scored[query].append((id, unsafe crows_score(SimdLevel.current, vector, values, values.count)))
      }
      rest = rest.dropFirst(count)
    }
    for query in 0..<found.queryCount { result.keepBest(of: scored[query], forQuery: query) }
    return result
  }

  /// The shard that a row is of.
  private func place(of id: RowID) throws -> Int {
    let place = ranges.partitioningIndex { $0.lowerBound > id } - 1
    guard place >= 0, ranges[place].contains(id) else {
      throw TarnError(.integrity, "row \(id) was found and is of no shard of the version")
    }
    return place
  }

  /// The rows of one shard that are taken out of it next, each once, and how many of those found they are.
  private func stretch(
    of rows: ArraySlice<(id: RowID, query: Int)>, in range: Range<RowID>
  ) -> (numbers: [Int], count: Int) {
    var numbers: [Int] = []
    var count = 0
    for (id, _) in rows {
      guard range.contains(id) else { break }
      let number = Int(id - range.lowerBound)
      if numbers.last != number {
        guard numbers.count < Self.rowsAtOnce else { break }
        numbers.append(number)
      }
      count += 1
    }
    return (numbers, count)
  }

  private func file(_ place: Int) throws -> FeatureRows {
    if let (opened, file) = current, opened == place { return file }
    current = nil
    let file = try open(place)
    current = (place, file)
    return file
  }
}
