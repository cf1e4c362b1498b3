// Rows of an answer that are nearly the same: which of them is shown. Defined in
// docs/WORDS.md.

internal import Base
internal import CRows
internal import Features

/// Goes through candidates from the best and keeps those that are close to none kept before.
///
/// Invariants:
///   1. No two that are kept are as close as the threshold.
///   2. Whatever was left out is that close to one that was kept before it.
///   3. What comes later changes nothing about what came before.
package struct NearDuplicates: Sendable {
  /// The closeness from which on two rows count as one, in `0<...1`.
  package let threshold: Double
  /// Vectors that were kept, with the inner product of each with itself.
  private var kept: [(vector: [Float], square: Double)] = []

  /// Begins without candidates.
  ///
  /// - Parameter threshold: The closeness from which on two rows count as one.
  package init(threshold: Double) { self.threshold = threshold }

  /// Offers the next candidate.
  ///
  /// - Parameter vector: What its code stands for; all of one length.
  /// - Returns: Whether it is kept.
  package mutating func keeps(_ vector: [Float]) -> Bool {
    let square = Self.product(vector, vector)
    if square > 0 {
      let isClose = kept.contains { other in
        other.square > 0
          && Self.product(vector, other.vector) / (square * other.square).squareRoot() >= threshold
      }
      if isClose { return false }
    }
    kept.append((vector, square))
    return true
  }

  /// The places of the candidates that are kept.
  ///
  /// - Parameters:
  ///   - vectors: What the candidates' codes stand for, best first.
  ///   - threshold: The closeness from which on two count as one.
  ///   - count: How many to keep at most.
  ///   - checkpoint: Called now and then; what it throws ends this.
  /// - Returns: Their places, ascending.
  package static func kept(
    of vectors: [[Float]], threshold: Double, atMost count: Int = .max, checkpoint: () throws -> Void = {}
  ) rethrows -> [Int] {
    var duplicates = NearDuplicates(threshold: threshold)
    var places: [Int] = []
    for (place, vector) in vectors.enumerated() where places.count < count {
      // Each is compared with all that were kept, which may be ten thousand.
      if place % 64 == 0 { try checkpoint() }
      if duplicates.keeps(vector) { places.append(place) }
    }
    return places
  }

  private static func product(_ left: [Float], _ right: [Float]) -> Double {
    precondition(left.count == right.count, "vectors of two lengths")
    return unsafe crows_score(SimdLevel.current, left, right, left.count)
  }
}

extension VersionSearcher {
  /// The most candidates for each row of an answer without near-duplicates.
  package static let candidatesPerRow = 16

  /// Finds the best rows of which no two are nearly the same, by the codes that refine where the version has such: what
  /// two codes of four bits stand for may be closer, or further apart, than the rows.
  ///
  /// - Parameters:
  ///   - queries: As for ``search(_:k:nprobe:threads:among:)``.
  ///   - k: Rows for each query, `1...65536`.
  ///   - nprobe: Lists visited per query.
  ///   - threads: Threads to use.
  ///   - subset: The rows that count; nil for all.
  ///   - threshold: The closeness from which on two rows count as one, in `0<...1`.
  ///   - checkpoint: Called now and then; what it throws ends the search.
  ///   - candidates: How a number of neighbours of some queries are found; by itself ``search(_:k:nprobe:threads:among:)``.
  /// - Returns: The rows that are kept, with their scores; fewer than k where the visited lists, or
  ///   ``candidatesPerRow`` candidates for each, have no more.
  /// - Throws: ``TarnError`` as a search, and `.usage` for a threshold out of range.
  package func searchUnique(
    _ queries: [Float], k: Int, nprobe: Int, threads: Int = 1, among subset: RowSubset? = nil, threshold: Double,
    checkpoint: (() throws -> Void)? = nil,
    candidates: ((_ queries: [Float], _ count: Int) throws -> SearchResult)? = nil
  ) throws -> SearchResult {
    guard threshold > 0, threshold <= 1 else {
      throw TarnError(.usage, "a closeness of \(threshold) is not above 0 and at most 1")
    }
    guard (1...65_536).contains(k) else { throw TarnError(.usage, "k is \(k), not in 1...65536") }
    let most = min(65_536, Self.candidatesPerRow * k)
    var result = SearchResult(k: k, queryCount: queries.count / dimension)
    var open = Array(0..<result.queryCount)
    var count = min(2 * k, most)
    while !open.isEmpty {
      let vectors = open.flatMap { queries[$0 * dimension..<($0 + 1) * dimension] }
      let found =
        try candidates?(vectors, count)
        ?? search(vectors, k: count, nprobe: nprobe, threads: threads, among: subset, checkpoint: checkpoint)
      let lists = refine == nil ? try visitedLists(vectors, nprobe: nprobe, threads: threads) : []
      var left: [Int] = []
      for (place, query) in open.enumerated() {
        try checkpoint?()
        let neighbors = found.neighbors(ofQuery: place)
        let ids = neighbors.map(\.id)
        let decoded =
          if let refine {
            try refine.vectors(ofRows: ids)
          } else {
            self.vectors(ofRows: ids, in: Set(lists[place])).map { $0 ?? [] }
          }
        guard decoded.allSatisfy({ $0.count == dimension }) else {
          throw TarnError(.engine, "a row was found and is in none of the lists that were visited")
        }
        let kept = try NearDuplicates.kept(of: decoded, threshold: threshold, atMost: k) { try checkpoint?() }
        guard kept.count == k || neighbors.count < count || count == most else {
          left.append(query)
          continue
        }
        result.visitedRows[query] = found.visitedRows[place]
        result.counts[query] = kept.count
        for (rank, chosen) in kept.enumerated() {
          result.paddedIDs[query * k + rank] = neighbors[chosen].id
          result.paddedScores[query * k + rank] = neighbors[chosen].score
        }
      }
      open = left
      count = min(2 * count, most)
    }
    return result
  }
}
