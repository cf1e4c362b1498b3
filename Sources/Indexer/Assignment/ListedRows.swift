// The best row of each vector among those of some lists, and the lists that rank
// best for it, by the int8 engine: what an ``ImageIndex`` looks through.

internal import Base
internal import CKernels
internal import Features
internal import Logging

/// The instructions of the int8 engine, where they serve work of so many products.
///
/// - Parameters:
///   - work: Vectors · rows · dimension.
///   - dimension: Elements of a row.
///   - backend: The one that was asked for by name, if any.
///   - logger: Gets a warning when a backend is dropped.
/// - Returns: The form; nil where other ways are to be taken.
/// - Throws: ``TarnError`` `.engine`, `.usage`.
internal func int8Form(
  for work: Double, dimension: Int, _ backend: AssignmentBackend?, _ logger: Logger
) throws -> CascadeForm? {
  guard try (backend ?? .choose(logger: logger)) == .int8,
    work >= AssignmentEngine.minimumInt8Work(backend, dimension: dimension)
  else { return nil }
  return .fastest
}

/// Which rows rank best for a vector, as a set.
internal struct RowRanking: Sendable {
  /// Rows for each vector.
  let count: Int
  private let rows: PreparedRows
  private let cascade: CascadeRows
  private let pool: WorkerPool
  private static let tile = 240

  /// Prepares the rows; nil where the int8 engine does not serve them.
  ///
  /// - Parameters:
  ///   - matrix: The rows, float32, finite.
  ///   - count: How many are asked for, `1 ..< rowCount`.
  ///   - sample: Vectors like those to come.
  ///   - form: Instructions that this CPU has.
  ///   - pool: The threads.
  init?(_ matrix: FeatureMatrix, best count: Int, sample: [Float], form: CascadeForm, pool: WorkerPool) {
    precondition((1..<matrix.rowCount).contains(count), "all rows need no ranking")
    rows = PreparedRows(matrix, rows: nil)
    rows.prepareCascade(
      sample: sample, pool: pool, shape: .fastest, form: form, purpose: CascadePurpose(count: count))
    guard let cascade = rows.cascade else { return nil }
    (self.cascade, self.count, self.pool) = (cascade, count, pool)
  }

  /// The rows with the greatest scores, the lowest of equal ones.
  ///
  /// - Parameters:
  ///   - matrix: Holds the vectors, finite.
  ///   - range: Which of its rows.
  /// - Returns: `[n × count]` rows: first the one that looks best, the others in no order.
  func ranked(_ matrix: FeatureMatrix, in range: Range<Int>) -> [UInt32] {
    let (dimension, tile, count) = (matrix.dimension, Self.tile, count)
    var ranked = [UInt32](repeating: 0, count: range.count * count)
    let scratch = Scratch(
      count: pool.threadCount, vectorByteCount: tile * dimension * 4,
      byteCount: unsafe ckernels_rank_scratch(cascade.pointer, tile))
    unsafe ranked.withUnsafeMutableBufferPointer { buffer in
      // Tasks write disjoint ranges.
      nonisolated(unsafe) let out = unsafe buffer
      pool.run((range.count + tile - 1) / tile) { task, worker in
        let first = range.lowerBound + task * tile
        let width = min(tile, range.upperBound - first)
        let vectors = unsafe scratch.vectors(of: worker)
        unsafe matrix.widen(rows: first..<(first + width), to: vectors)
        guard let start = unsafe out.baseAddress else { return }
        var counts = ckernels_counts()
        unsafe ckernels_rank(
          SimdLevel.current, cascade.pointer, vectors, width, count, scratch.memory(of: worker),
          start + task * tile * count, &counts)
      }
    }
    return ranked
  }
}

/// Rows in lists, of which each vector is compared with those of a few.
internal struct ListedRows: Sendable {
  /// The rows' numbers elsewhere, ascending.
  private let numbers: [UInt32]
  private let probeCount: Int
  private let rows: PreparedRows
  private let cascade: CascadeRows
  private let pool: WorkerPool
  private static let tile = 960

  /// Prepares the rows; nil where the int8 engine does not serve them.
  ///
  /// - Parameters:
  ///   - matrix: Holds the rows, finite.
  ///   - numbers: Which of its rows, ascending.
  ///   - lists: The list of each, `0 ..< listCount`.
  ///   - listCount: Lists that there may be.
  ///   - probeCount: Lists that a vector looks through, at most.
  ///   - sample: Vectors like those to come.
  ///   - compared: Rows that a vector is compared with, about.
  ///   - vectorCount: Vectors to come.
  ///   - form: Instructions that this CPU has.
  ///   - pool: The threads.
  init?(
    _ matrix: FeatureMatrix, _ numbers: [UInt32], in lists: [UInt32], listCount: Int, probeCount: Int,
    sample: [Float], compared: Double, vectorCount: Int, form: CascadeForm, pool: WorkerPool
  ) {
    (self.numbers, self.probeCount, self.pool) = (numbers, probeCount, pool)
    rows = PreparedRows(matrix, listed: numbers, pool: pool)
    rows.prepareCascade(
      sample: sample, pool: pool, shape: .fastest, form: form,
      purpose: CascadePurpose(
        compared: compared, vectors: Double(vectorCount), lists: lists, listCount: listCount))
    guard let cascade = rows.cascade else { return nil }
    self.cascade = cascade
  }

  /// The best row of each vector in the lists that it looks through.
  ///
  /// - Parameters:
  ///   - matrix: Holds the vectors, finite.
  ///   - vectors: Which of its rows, such as look through the same lists side by side.
  ///   - floors: For each vector a score that was found elsewhere: what scores less need not be found.
  ///   - lists: Appends the lists that one of them, by its place among them, looks through, the likeliest first.
  /// - Returns: For each vector the number of its best row, and the score; `UInt32.max` where no row was found.
  func best(
    of matrix: FeatureMatrix, _ vectors: [UInt32], floors: [Double],
    in lists: @Sendable (_ place: Int, _ lists: inout [UInt32]) -> Void
  ) -> Winners {
    let (dimension, tile) = (matrix.dimension, Self.tile)
    var found = Winners(
      rows: [UInt32](repeating: .max, count: vectors.count),
      scores: [Double](repeating: -.infinity, count: vectors.count))
    let scratch = Scratch(
      count: pool.threadCount, vectorByteCount: tile * dimension * 4,
      byteCount: unsafe ckernels_lists_scratch(cascade.pointer, tile, tile * probeCount))
    unsafe found.rows.withUnsafeMutableBufferPointer { rowsOut in
      unsafe found.scores.withUnsafeMutableBufferPointer { scoresOut in
        // Tasks write disjoint ranges of both.
        nonisolated(unsafe) let (rowsOut, scoresOut) = unsafe (rowsOut, scoresOut)
        pool.run((vectors.count + tile - 1) / tile) { task, worker in
          let asking = unsafe scratch.vectors(of: worker)
          var (places, firsts, probed): ([Int], [UInt32], [UInt32]) = ([], [0], [])
          for place in (task * tile)..<min((task + 1) * tile, vectors.count) {
            lists(place, &probed)
            guard probed.count > Int(firsts[places.count]) else { continue }
            let row = Int(vectors[place])
            unsafe matrix.widen(rows: row..<(row + 1), to: asking + places.count * dimension)
            places.append(place)
            firsts.append(UInt32(probed.count))
          }
          guard !places.isEmpty else { return }
          var winners = [UInt32](repeating: .max, count: places.count)
          var scores = [Double](repeating: -.infinity, count: places.count)
          var counts = ckernels_counts()
          unsafe ckernels_best_in_lists(
            SimdLevel.current, cascade.pointer, asking, places.count, firsts, probed, places.map { floors[$0] },
            scratch.memory(of: worker), &winners, &scores, &counts)
          for (number, place) in places.enumerated() where winners[number] != .max {
            unsafe rowsOut[place] = numbers[Int(winners[number])]
            unsafe scoresOut[place] = scores[number]
          }
        }
      }
    }
    return found
  }
}
