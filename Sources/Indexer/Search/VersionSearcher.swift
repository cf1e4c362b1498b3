// Searching an index version: all its output shards, one answer.

/// The global id of a vector: first id of its shard + row in the shard.
package typealias RowID = Int64

/// A row that was found, with its score.
package struct Neighbor: Sendable, Equatable {
  package let id: RowID
  /// Inner product of the query and the decoded vector.
  package let score: Float

  /// The order of answers: greater scores first, then lower ids.
  package static func precedes(_ left: Neighbor, _ right: Neighbor) -> Bool {
    left.score != right.score ? left.score > right.score : left.id < right.id
  }
}

/// The neighbours of a batch of queries.
package struct SearchResult: Sendable, Equatable {
  /// Neighbours asked for.
  package let k: Int
  /// One row per query, best first; shorter than `k` when the visited lists
  /// held fewer rows.
  package let neighbors: [[Neighbor]]

  /// Row ids for a file, `[n × k]`, missing ones -1.
  package var paddedIDs: [Int64] {
    neighbors.flatMap { row in row.map(\.id) + [Int64](repeating: -1, count: k - row.count) }
  }

  /// Scores for a file, `[n × k]`, missing ones the least finite float, as
  /// FAISS pads them.
  package var paddedScores: [Float] {
    neighbors.flatMap { row in
      row.map(\.score) + [Float](repeating: -.greatestFiniteMagnitude, count: k - row.count)
    }
  }
}

/// All output shards of a version, memory-mapped.
///
/// Calls block and start FAISS's threads: one at a time, on a thread of the
/// caller's own.
package final class VersionSearcher {
  /// Components of a query.
  package let dimension: Int
  package let nlist: Int
  /// Rows in all output shards.
  package let rowCount: Int
  private let shards: [FaissIndex]

  /// Opens output shards.
  ///
  /// Each is parsed strictly by tarn before FAISS sees it.
  ///
  /// - Parameter paths: The version's output shards, at least one.
  /// - Throws: ``IndexerError`` `.inputsMissing` without a file or any path,
  ///   `.integrity` when one is damaged or was made with another trained
  ///   index, `.engine` when FAISS refuses.
  package init(outputShards paths: [String]) throws {
    guard let first = paths.first else { throw IndexerError(.inputsMissing, "no output shards to search") }
    let trained = try OutputShardFile(path: first).trained
    var opened = [try FaissIndex(path: first)]
    for path in paths.dropFirst() {
      guard try OutputShardFile(path: path).trained == trained else {
        throw IndexerError(
          .integrity, "\(path) was made with another trained index than \(first)",
          hint: "search the output shards of one version")
      }
      opened.append(try FaissIndex(path: path, sharingQuantizerOf: opened[0]))
    }
    shards = opened
    dimension = trained.dimension
    nlist = trained.nlist
    rowCount = shards.reduce(0) { $0 + $1.count }
  }

  /// Finds the rows with the greatest scores in the visited lists.
  ///
  /// - Parameters:
  ///   - queries: Row-major finite floats, shape `[n × dimension]`; `n` may be
  ///     0.
  ///   - k: Neighbours per query, `1...65536`.
  ///   - nprobe: Lists visited per query, `1...`; all are when it is more than
  ///     there are.
  ///   - threads: Threads that FAISS may use, `1...`; the answer does not
  ///     depend on it.
  /// - Returns: One row per query, in query order, by score descending and id
  ///   ascending. Among equal scores at the end of a row, those that FAISS
  ///   met first are kept.
  /// - Throws: ``IndexerError`` `.usage` for a parameter out of range,
  ///   `.badFeatures` for a query that is not finite, `.engine` when FAISS
  ///   refuses.
  package func search(_ queries: [Float], k: Int, nprobe: Int, threads: Int = 1) throws -> SearchResult {
    guard (1...65_536).contains(k) else { throw IndexerError(.usage, "k is \(k), not in 1...65536") }
    guard nprobe >= 1 else { throw IndexerError(.usage, "nprobe is \(nprobe), must be at least 1") }
    guard threads >= 1, threads <= 4096 else { throw IndexerError(.usage, "\(threads) threads is no thread count") }
    guard queries.count % dimension == 0 else {
      throw IndexerError(
        .usage, "\(queries.count) floats are no queries of \(dimension) dimensions",
        hint: "queries must have the dimension of the version")
    }
    if let bad = queries.firstIndex(where: { !$0.isFinite }) {
      throw IndexerError(.badFeatures, "query \(bad / dimension) has a component that is not finite")
    }
    let n = queries.count / dimension
    var found = [[Neighbor]](repeating: [], count: n)
    guard n > 0 else { return SearchResult(k: k, neighbors: []) }
    let probes = try shards[0].rankLists(queries, nprobe: min(nprobe, nlist), threads: threads)
    for shard in shards where shard.count > 0 {
      try shard.search(queries, probes: probes, k: min(k, shard.count), threads: threads) { query, id, score in
        found[query].append(Neighbor(id: id, score: score))
      }
    }
    let best = found.map { Array($0.sorted(by: Neighbor.precedes).prefix(k)) }
    return SearchResult(k: k, neighbors: best)
  }
}
