// Ordering found rows by their original features, which a 4-bit code has lost
// some of.

internal import Base
package import Catalog
internal import CRows
internal import Features

/// The original features of a version's rows, for the scores of a few.
///
/// The score is `crows_score` of the query and the row as it was encoded:
/// as it is, or of unit length when the version was trained with `--normalise`.
package final class Reranker {
  private let catalog: LakeCatalog
  private let inputs: [VersionInput]
  private let source: Source
  private let normalisation: Normalisation
  private var files: [Int: FeatureFile] = [:]

  /// Takes up a version; its shards are opened when a row of theirs is found.
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - catalog: The catalog that has it.
  /// - Throws: ``TarnError``.
  package init(_ version: IndexVersion, in catalog: LakeCatalog) throws {
    self.catalog = catalog
    inputs = try catalog.inputs(of: version).filter { !$0.isHole && $0.rowCount > 0 }
    source = try catalog.source(id: version.sourceID)
    normalisation = try catalog.trainedIndex(id: version.trainedIndexID).specification().normalisation
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
    precondition(k <= found.k && queries.count == found.queryCount * source.dimension, "these are other queries")
    let dimension = source.dimension
    var result = SearchResult(k: k, queryCount: found.queryCount)
    result.visitedRows = found.visitedRows
    for query in 0..<found.queryCount {
      let vector = Array(queries[query * dimension..<(query + 1) * dimension])
      // By id: rows of a shard one after the other.
      let ids = found.neighbors(ofQuery: query).map(\.id).sorted()
      var scored = try ids.map { id in (id: id, score: try score(of: id, with: vector)) }
      scored.sort { $0.score != $1.score ? $0.score > $1.score : $0.id < $1.id }
      result.counts[query] = min(k, scored.count)
      for (rank, row) in scored.prefix(k).enumerated() {
        result.paddedIDs[query * k + rank] = row.id
        result.paddedScores[query * k + rank] = Float(row.score)
      }
    }
    return result
  }

  private func score(of id: RowID, with query: [Float]) throws -> Double {
    let place = inputs.partitioningIndex { $0.firstID > id } - 1
    guard place >= 0, id - inputs[place].firstID < Int64(inputs[place].rowCount) else {
      throw TarnError(.integrity, "row \(id) was found and is of no shard of the version")
    }
    let matrix = try file(place).matrix
    let row = Int(id - inputs[place].firstID)
    var values = matrix.floats(rows: row..<(row + 1))
    if normalisation == .normalise {
      let length = matrix.length(ofRow: row)
      for j in values.indices { values[j] = Float(Double(values[j]) / length) }
    }
    return unsafe crows_score(SimdLevel.current, query, values, values.count)
  }

  private func file(_ place: Int) throws -> FeatureFile {
    if let file = files[place] { return file }
    let input = inputs[place]
    guard let path = input.path, let revision = input.revision else {
      throw TarnError(
        .inputsMissing,
        "shard \(input.shardName) of source \(source.name) is not in the lake, and a row of it was found",
        hint: "run `tarn sync \(source.name) --shards \(input.shardOrdinal)`, or search without --rerank")
    }
    let absolute = catalog.layout.shards + "/" + path
    // A shard is 1.4 GB and a few of its rows are wanted: hashed when it was touched, once.
    if try !catalog.looksUntouched(input), try Disk.digest(of: absolute) != revision.digest {
      throw TarnError(
        .integrity, "\(absolute) has changed since it was fetched",
        hint: "run `tarn verify --repair`, or search without --rerank")
    }
    let file = try FeatureFile(absolute, dimension: source.dimension, elementType: source.elementType)
    guard file.rowCount == input.rowCount else {
      throw TarnError(.integrity, "\(absolute) has \(file.rowCount) rows, the catalog counts \(input.rowCount)")
    }
    file.matrix.advise(.random)
    files[place] = file
    return file
  }
}

extension [VersionInput] {
  /// The first place from which on `isLater` holds.
  fileprivate func partitioningIndex(_ isLater: (VersionInput) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if isLater(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
