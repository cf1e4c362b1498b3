// The k best rows of each query by the score of DESIGN 4.3, found without an
// index: the ground truth of an evaluation, and the labels of a router.

package import Base
internal import CKernels
package import Features

/// The best rows so far of each query, among those that were added.
///
/// Rows are added in ascending order of id, block by block, so a gallery is
/// streamed and never held. The answer is exact, of rows that reach the floors:
/// best score first, equal scores by id; it depends on no block, thread, CPU or
/// BLAS.
package struct ExactNeighbors: Sendable {
  /// Rows that are kept for each query.
  package let k: Int
  /// Row ids, `[n × k]`; -1 where there is none.
  package internal(set) var ids: [RowID]
  /// Their scores, `[n × k]`.
  package internal(set) var scores: [Double]
  /// Rows found for each query, `0...k`.
  package internal(set) var counts: [UInt32]
  /// The queries, float32.
  private let queries: FeatureMatrix
  /// What a row has to score to be of use to each query, `[n]`.
  private let floors: [Double]
  private let pool: WorkerPool

  /// Queries that one task compares with a block of rows, where threads enough have some.
  private static let tiles = 64...256
  /// Rows that are widened at a time.
  private static let block = 8192

  /// Starts with no rows.
  ///
  /// - Parameters:
  ///   - queries: `[n × dimension]`, finite.
  ///   - k: Rows to keep for each, `1...`.
  ///   - floors: What a row has to score to be of use to each query, `[n]`: others may be left out; nil where all are.
  ///   - pool: The threads; nil for the process's.
  /// - Throws: ``TarnError`` `.io` when those cannot be made.
  package init(queries: FeatureMatrix, k: Int, floors: [Double]? = nil, pool: WorkerPool? = nil) throws {
    precondition(k >= 1)
    self.k = k
    self.floors = floors ?? [Double](repeating: -.infinity, count: queries.rowCount)
    precondition(self.floors.count == queries.rowCount, "a floor for each query")
    self.pool = try pool ?? .shared
    self.queries =
      queries.elementType == .float32
      ? queries
      : FeatureMatrix(queries.floats(rows: 0..<queries.rowCount), dimension: queries.dimension)
    ids = [RowID](repeating: -1, count: queries.rowCount * k)
    scores = [Double](repeating: -.infinity, count: queries.rowCount * k)
    counts = [UInt32](repeating: 0, count: queries.rowCount)
  }

  /// The rows found for one query, best first.
  package func found(for query: Int) -> ArraySlice<RowID> { ids[(query * k)..<(query * k + Int(counts[query]))] }

  /// Compares all queries with rows of a matrix.
  ///
  /// - Parameters:
  ///   - matrix: Holds the rows, of the queries' dimension.
  ///   - rows: Which of them; all by default.
  ///   - firstID: Id of the matrix's row 0; ids exceed those added before.
  /// - Throws: ``TarnError`` `.badFeatures` for a row that is not finite.
  package mutating func add(_ matrix: FeatureMatrix, rows: Range<Int>? = nil, firstID: RowID = 0) throws {
    guard matrix.dimension == queries.dimension else {
      throw TarnError(
        .badFeatures, "rows of \(matrix.dimension) elements cannot be compared with queries of \(queries.dimension)")
    }
    let rows = rows ?? 0..<matrix.rowCount
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.block) {
      let block = first..<min(first + Self.block, rows.upperBound)
      let prepared = PreparedRows(matrix, rows: block)
      if let bad = prepared.firstBadRow {
        throw TarnError(.badFeatures, "row \(first + bad) has an element that is NaN or infinite")
      }
      merge(prepared, firstID: firstID + RowID(first))
    }
  }

  /// Adds the good rows of a shard, as a sealed version has them: it left bad
  /// rows out or had none.
  ///
  /// - Parameters:
  ///   - matrix: The shard's rows.
  ///   - firstID: Row id of the first.
  ///   - excluded: Rows that the version does not have, ascending.
  ///   - normalisation: What training did about lengths.
  ///   - progress: Told the rows done; what it throws ends the work.
  /// - Throws: ``TarnError``, what `progress` throws.
  package mutating func add(
    _ matrix: FeatureMatrix, firstID: RowID, without excluded: [Int] = [], _ normalisation: Normalisation,
    progress: (Int) throws -> Void
  ) throws {
    let block = 65_536
    var bad = Set(matrix.badRows().map(\.row)).union(excluded).sorted()[...]
    for first in stride(from: 0, to: matrix.rowCount, by: block) {
      let end = min(first + block, matrix.rowCount)
      var start = first
      while start < end {
        let next = bad.first.map { min($0, end) } ?? end
        if start < next {
          switch normalisation {
          case .refuse: try add(matrix, rows: start..<next, firstID: firstID)
          case .normalise: try add(matrix.unitRows(start..<next, pool: pool), firstID: firstID + RowID(start))
          }
        }
        if let row = bad.first, row < end { bad = bad.dropFirst() }
        start = next + 1
      }
      try progress(end)
    }
  }

  private mutating func merge(_ prepared: PreparedRows, firstID: RowID) {
    let (k, queries, queryCount, floors) = (k, queries, queries.rowCount, floors)
    let tile = min(max(queryCount / pool.threadCount, Self.tiles.lowerBound), Self.tiles.upperBound)
    unsafe ids.withUnsafeMutableBufferPointer { ids in
      unsafe scores.withUnsafeMutableBufferPointer { scores in
        unsafe counts.withUnsafeMutableBufferPointer { counts in
          // Tasks write the entries of disjoint ranges of queries.
          nonisolated(unsafe) let (ids, scores, counts) = unsafe (ids, scores, counts)
          pool.run((queryCount + tile - 1) / tile) { task, _ in
            let first = task * tile
            let width = min(tile, queryCount - first)
            let vectors = queries.floats(rows: first..<(first + width))
            guard let idsOut = unsafe ids.baseAddress, let scoresOut = unsafe scores.baseAddress,
              let countsOut = unsafe counts.baseAddress
            else { return }
            let scratch = UnsafeMutableRawPointer.allocate(byteCount: ckernels_nearest_scratch(width), alignment: 64)
            defer { unsafe scratch.deallocate() }
            let own = Array(floors[first..<(first + width)])
            unsafe ckernels_nearest(
              SimdLevel.current, prepared.rows, firstID, vectors, own, width, k, scratch, idsOut + first * k,
              scoresOut + first * k, countsOut + first)
          }
        }
      }
    }
  }

  /// Takes in the best of other rows of the same queries, whatever their ids.
  ///
  /// - Parameter other: What was found among those rows, for as many queries and k.
  package mutating func merge(_ other: ExactNeighbors) {
    precondition(other.k == k && other.counts.count == counts.count, "answers to other questions")
    var (mergedIDs, mergedScores): ([RowID], [Double]) = ([], [])
    for query in counts.indices {
      let (start, ours, theirs) = (query * k, Int(counts[query]), Int(other.counts[query]))
      let count = min(k, ours + theirs)
      mergedIDs.removeAll(keepingCapacity: true)
      mergedScores.removeAll(keepingCapacity: true)
      var (i, j) = (0, 0)
      while i + j < count {
        let isOurs =
          j == theirs
          || i < ours
            && (scores[start + i] > other.scores[start + j]
              || scores[start + i] == other.scores[start + j] && ids[start + i] < other.ids[start + j])
        mergedIDs.append(isOurs ? ids[start + i] : other.ids[start + j])
        mergedScores.append(isOurs ? scores[start + i] : other.scores[start + j])
        if isOurs { i += 1 } else { j += 1 }
      }
      ids.replaceSubrange(start..<(start + count), with: mergedIDs)
      scores.replaceSubrange(start..<(start + count), with: mergedScores)
      counts[query] = UInt32(count)
    }
  }

  /// Saves what is known after some shards, durably.
  ///
  /// - Parameters:
  ///   - path: The final name; a file of that name is replaced.
  ///   - inputs: Identifies queries, rows and k.
  ///   - done: Numbers of what was added, ascending.
  /// - Throws: ``TarnError`` when writing fails.
  package func saveState(as path: String, inputs: ContentDigest, done: [UInt32]) throws {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnpart", fingerprint: inputs)
    try writer.write(done)
    try writer.write(counts)
    try writer.write(ids)
    try writer.write(scores)
    _ = try writer.finish(as: path)
  }

  /// Takes over what was known after some shards.
  ///
  /// - Parameters:
  ///   - path: What ``saveState(as:inputs:done:)`` wrote.
  ///   - inputs: Identifies queries, rows and k.
  /// - Returns: Numbers of what was added, ascending.
  /// - Throws: ``TarnError`` `.integrity` when the file is damaged or of other inputs,
  ///   `.inputsMissing` when there is none.
  package mutating func loadState(_ path: String, inputs: ContentDigest) throws -> [UInt32] {
    var reader = try StateReader(path, magic: "tarnpart", fingerprint: inputs)
    let done = try reader.read(UInt32.self)
    try take(counts: reader.read(), ids: reader.read(), scores: reader.read(), from: path)
    return done
  }

  private mutating func take(counts: [UInt32], ids: [RowID], scores: [Double], from path: String) throws {
    guard counts.count == self.counts.count, ids.count == self.ids.count, scores.count == ids.count,
      counts.allSatisfy({ Int($0) <= k })
    else { throw StateReader.misfit(path) }
    (self.counts, self.ids, self.scores) = (counts, ids, scores)
  }

  /// Bytes of the file of the answer to so many queries: an id and a score for each neighbour, a count for each query.
  package static func byteCount(queryCount: Int, k: Int) -> Int {
    SavedState.byteCount(fields: 4, holding: 8 + queryCount * (4 + 16 * k))
  }

  /// Saves the answer durably.
  ///
  /// - Parameters:
  ///   - path: The final name; a file of that name is replaced.
  ///   - inputs: Identifies queries, rows and k.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  package func save(as path: String, inputs: ContentDigest) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnexac", fingerprint: inputs)
    try writer.write([UInt64(k)])
    try writer.write(counts)
    try writer.write(ids)
    try writer.write(scores)
    return try writer.finish(as: path)
  }

  /// Takes over a saved answer.
  ///
  /// - Parameters:
  ///   - path: What ``save(as:inputs:)`` wrote.
  ///   - inputs: Identifies queries, rows and k.
  /// - Throws: ``TarnError`` `.integrity` when the file is damaged or of
  ///   other inputs, `.inputsMissing` when there is none.
  package mutating func load(_ path: String, inputs: ContentDigest) throws {
    var reader = try StateReader(path, magic: "tarnexac", fingerprint: inputs)
    let k = try reader.read(UInt64.self)
    guard k == [UInt64(self.k)] else {
      throw StateReader.misfit(path)
    }
    try take(counts: reader.read(), ids: reader.read(), scores: reader.read(), from: path)
  }
}
