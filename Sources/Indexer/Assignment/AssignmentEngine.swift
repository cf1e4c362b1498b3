// "Best of K rows for each of N vectors": the one engine behind assignment to
// lists, k-means and the nearest image of a caption.

internal import Base
internal import CKernels
internal import CRows
package import Features
package import Logging
internal import Synchronization

/// Finds, for each vector, the row with the greatest score.
///
/// The score of a vector x and a row c is the sum of x[j]·c[j] in binary64, in
/// one fixed order (see `crows_score`). The winner has the greatest score;
/// of equal scores, the lowest row. That is a definition and not an aim: every
/// backend, thread count, tile size and SIMD level returns this winner and this
/// score, bit for bit. `ExactAssignment.md` has the proof.
package final class AssignmentEngine: Sendable {
  /// The way in which winners are computed.
  package let backend: AssignmentBackend
  /// Rows that vectors are compared with, `1...`.
  package let rowCount: Int
  /// Elements of a row, and of a vector.
  package let dimension: Int

  internal let rows: PreparedRows
  internal let pool: WorkerPool
  private let tileVectors: Int?
  private let expectedVectorCount: Int
  private let shape: SliceShape
  private let form: CascadeForm?
  /// Products (vectors · rows · dimension) from which the int8 engine pays.
  private let minimumInt8Work: Double
  private let totals = Mutex(Statistics())

  /// What the work so far has cost; without effect on any result.
  package struct Statistics: Sendable, Equatable {
    /// Vectors whose winners were found.
    package var vectors = 0
    /// Binary64 scores computed by the backends that avoid most of them.
    package var rescored = 0
    /// Rows that the first int8 pass left to the second.
    package var looked = 0
    /// Tiles of rows that a fast path could not bound for a vector.
    package var fallbacks = 0
  }

  /// Prepares the rows.
  ///
  /// - Parameters:
  ///   - matrix: Holds the rows.
  ///   - rows: Which of them; all by default. Row numbers in results count
  ///     from the first of these.
  ///   - backend: How to compute; nil for ``AssignmentBackend/choose(logger:environment:)``.
  ///   - pool: The threads; nil for the process's.
  ///   - tileVectors: Vectors that a thread takes at a time, `1...`; nil for
  ///     the width that suits the caches.
  ///   - expectedVectorCount: About how many vectors will be asked for in all,
  ///     where more than one call is coming; without effect on any result.
  ///   - shape: What the int8 engine multiplies first.
  ///   - form: The instructions that it does so with; nil for the fastest.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Throws: ``TarnError`` `.usage` for no rows or too many,
  ///   `.badFeatures` for a row with a NaN or infinity, `.engine`.
  package init(
    rows matrix: FeatureMatrix, in rows: Range<Int>? = nil, backend: AssignmentBackend? = nil,
    pool: WorkerPool? = nil, tileVectors: Int? = nil, expectedVectorCount: Int = 0,
    shape: SliceShape = .fastest, form: CascadeForm? = nil, logger: Logger = Logger(label: "tarn.engine")
  ) throws {
    let selected = rows ?? 0..<matrix.rowCount
    guard !selected.isEmpty else { throw TarnError(.usage, "there are no rows to compare vectors with") }
    guard selected.count < Int(UInt32.max), matrix.dimension <= 1 << 20 else {
      throw TarnError(.usage, "[\(selected.count) x \(matrix.dimension)] rows are too many to compare with at once")
    }
    self.backend = try backend ?? .choose(logger: logger)
    let prepared = PreparedRows(matrix, rows: selected)
    if let bad = prepared.firstBadRow {
      throw TarnError(.badFeatures, "row \(selected.lowerBound + bad) has an element that is NaN or infinite")
    }
    self.rows = prepared
    (rowCount, dimension) = (prepared.count, prepared.dimension)
    self.pool = try pool ?? .shared
    self.tileVectors = tileVectors.map { max($0, 1) }
    self.expectedVectorCount = expectedVectorCount
    self.shape = shape
    self.form = form ?? .fastest
    minimumInt8Work = Self.minimumInt8Work(backend, dimension: prepared.dimension)
  }

  /// Products (vectors · rows · dimension) from which preparing rows for the int8 engine pays.
  ///
  /// Up to 768 dimensions preparing takes a second or so, as long as so many products do without it. Beyond, what it
  /// takes is the axes, eigenvectors of [dimension × dimension] matrices, and grows as the cube.
  ///
  /// - Parameters:
  ///   - backend: The one that was asked for by name, if any: then it is done always.
  ///   - dimension: Elements of a row.
  /// - Returns: The least work.
  package static func minimumInt8Work(_ backend: AssignmentBackend?, dimension: Int) -> Double {
    guard backend == nil, AssignmentBackend.forcedName() == nil else { return 0 }
    let growth = max(1, Double(dimension) / 768)
    return 0x1p38 * growth * growth * growth
  }

  /// What the work so far has cost.
  package var statistics: Statistics { totals.withLock { $0 } }

  /// Finds the winners of rows of a matrix.
  ///
  /// - Parameters:
  ///   - matrix: Holds the vectors, of the engine's dimension.
  ///   - range: Which of its rows; all by default.
  ///   - guesses: For each vector a row that may win, such as the one that won
  ///     among rows like these, scored before any other; nil for none. Without
  ///     effect on any result.
  /// - Returns: One winner for each vector, in their order; of none, none.
  /// - Throws: ``TarnError`` `.badFeatures` for a vector with a NaN or
  ///   infinity, naming its row.
  package func best(
    of matrix: FeatureMatrix, in range: Range<Int>? = nil, guessing guesses: [UInt32]? = nil
  ) throws -> Winners {
    let range = range ?? 0..<matrix.rowCount
    return try best(of: matrix, count: range.count, firstRow: range.lowerBound, list: nil, guesses: guesses)
  }

  /// Finds the winners of listed rows of a matrix.
  ///
  /// - Parameters:
  ///   - matrix: Holds the vectors, of the engine's dimension.
  ///   - list: Row numbers, in any order.
  ///   - guesses: As in ``best(of:in:guessing:)``, in the order of the list.
  /// - Returns: One winner for each listed row, in their order; of none, none.
  /// - Throws: ``TarnError`` `.badFeatures` for a vector with a NaN or
  ///   infinity, naming its row.
  package func best(
    of matrix: FeatureMatrix, listed list: [UInt32], guessing guesses: [UInt32]? = nil
  ) throws -> Winners {
    try best(of: matrix, count: list.count, firstRow: 0, list: list, guesses: guesses)
  }

  private func best(
    of matrix: FeatureMatrix, count: Int, firstRow: Int, list: [UInt32]?, guesses: [UInt32]?
  ) throws -> Winners {
    precondition(guesses.map { $0.count == count } ?? true, "a guess is missing, or one too many")
    guard matrix.dimension == dimension else {
      throw TarnError(
        .badFeatures, "vectors of \(matrix.dimension) elements cannot be compared with rows of \(dimension)")
    }
    // A block of a shard may have only bad rows; there is no tile of no vectors.
    guard count > 0 else { return Winners() }
    var winners = Winners(
      rows: [UInt32](repeating: 0, count: count), scores: [Double](repeating: 0, count: count))
    let layout = layout(for: matrix, count: count, firstRow: firstRow, list: list)
    var isCascade = false
    if case .cascade = layout { isCascade = true }
    let tile =
      tileVectors
      ?? evenTile(of: count, atMost: Self.widestTile(of: count, threads: pool.threadCount, isCascade: isCascade))
    let scratch = Scratch(
      count: pool.threadCount, vectorByteCount: tile * dimension * 4,
      byteCount: rows.scratchByteCount(vectorCount: tile, layout: layout))
    let badRow = Atomic<Int>(Int.max)
    unsafe winners.rows.withUnsafeMutableBufferPointer { rowsOut in
      unsafe winners.scores.withUnsafeMutableBufferPointer { scoresOut in
        // Tasks write disjoint ranges of both.
        nonisolated(unsafe) let rowsOut = unsafe rowsOut
        nonisolated(unsafe) let scoresOut = unsafe scoresOut
        pool.run((count + tile - 1) / tile) { task, worker in
          let first = task * tile
          let width = min(tile, count - first)
          let vectors = unsafe scratch.vectors(of: worker)
          if let list {
            for i in 0..<width {
              let row = Int(list[first + i])
              unsafe matrix.widen(rows: row..<(row + 1), to: vectors + i * dimension)
            }
          } else {
            unsafe matrix.widen(rows: (firstRow + first)..<(firstRow + first + width), to: vectors)
          }
          let bad = unsafe crows_find_nonfinite_row(SimdLevel.current, vectors, dimension, width)
          guard bad == width else {
            let row = list.map { Int($0[first + bad]) } ?? (firstRow + first + bad)
            badRow.min(row, ordering: .relaxed)
            return
          }
          guard let winner = unsafe rowsOut.baseAddress, let score = unsafe scoresOut.baseAddress else { return }
          var counts = ckernels_counts()
          unsafe rows.best(
            of: vectors, count: width, guesses: guesses.map { Array($0[first..<(first + width)]) },
            level: SimdLevel.current, backend: backend, layout: layout, scratch: scratch.memory(of: worker),
            winners: winner + first, scores: score + first, counts: &counts)
          totals.withLock {
            $0.vectors += width
            $0.rescored += Int(counts.rescored)
            $0.looked += Int(counts.looked)
            $0.fallbacks += Int(counts.fallbacks)
          }
        }
      }
    }
    let bad = badRow.load(ordering: .relaxed)
    guard bad == Int.max else {
      throw TarnError(.badFeatures, "row \(bad) has an element that is NaN or infinite")
    }
    return winners
  }
}

extension AssignmentEngine {
  /// A wide tile reads the rows less often; a narrow one keeps all threads busy.
  private static func widestTile(of count: Int, threads: Int, isCascade: Bool) -> Int {
    isCascade && count >= 960 * 8 * threads ? 960 : 240
  }

  /// Memory that a search takes besides the rows and what is prepared of them, at most: of each thread a tile of
  /// vectors with what the engine makes of it, and what choosing axes for the int8 engine takes.
  ///
  /// - Parameters:
  ///   - vectorCount: Vectors whose winners are asked for.
  ///   - rowCount: Rows that they are compared with.
  ///   - dimension: Elements of either.
  ///   - threadCount: Threads.
  /// - Returns: Bytes, about.
  package static func workingByteCount(
    vectorCount: Int, rowCount: Int, dimension: Int, threadCount: Int
  ) -> Int {
    let form = dimension <= ckernels_cascade_dimensions() ? CascadeForm.fastest : nil
    let tile = min(widestTile(of: vectorCount, threads: threadCount, isCascade: form != nil), max(vectorCount, 1))
    // Vectors and rows in bfloat16, where that serves.
    let plain = ckernels_sgemm_scratch(tile) + tile * (2 * dimension + 128) + 4 * dimension
    let engine = form.map { max(ckernels_cascade_most_scratch($0.rawValue, dimension, tile), plain) } ?? plain
    let threads = threadCount * (4 * tile * dimension + engine)
    guard form != nil else { return threads }
    // Thirteen square matrices of binary64 (cascade_axes.c); samples of both sides as they come, centred and turned.
    let samples = 3 * 4 * dimension * (min(vectorCount, 8192) + min(rowCount, 8192))
    return threads + 13 * 8 * dimension * dimension + samples
  }

  /// A tile width with which all threads end at about the same time, in whole
  /// groups of six as the kernels take them.
  private func evenTile(of count: Int, atMost widest: Int) -> Int {
    let rounds = (count + widest * pool.threadCount - 1) / (widest * pool.threadCount)
    let tiles = max(rounds * pool.threadCount, 1)
    return min(((count + tiles - 1) / tiles + 5) / 6 * 6, widest)
  }

  /// The rows as the fastest kernel takes them that suits the work and that the
  /// backend allows.
  private func layout(for matrix: FeatureMatrix, count: Int, firstRow: Int, list: [UInt32]?) -> PreparedRows.Layout {
    guard backend == .int8 || backend == .bf16 else { return .plain }
    let vectorCount = max(statistics.vectors + count, expectedVectorCount)
    if backend == .int8, let form, Double(vectorCount) * Double(rowCount * dimension) >= minimumInt8Work {
      prepareCascade(for: matrix, count: count, firstRow: firstRow, list: list, form: form)
    }
    if let cascade = rows.cascade { return .cascade(cascade) }
    // Rounding the rows costs little: it pays for any work.
    let rounds = AssignmentBackend.bf16.isAvailable && AssignmentBackend.bf16.isSound
    return rounds ? .bfloat16(rows.bfloat16(pool: pool)) : .plain
  }

  /// Prepares the rows for the int8 engine, with a sample of vectors from all
  /// over the matrix.
  private func prepareCascade(
    for matrix: FeatureMatrix, count: Int, firstRow: Int, list: [UInt32]?, form: CascadeForm
  ) {
    let sample =
      list.map { list in matrix.sample(ofRows: (0..<count).lazy.map { Int(list[$0]) }) }
      ?? matrix.sample(ofRows: firstRow..<(firstRow + count))
    rows.prepareCascade(sample: sample, pool: pool, shape: shape, form: form)
  }

  /// Dimensions of the slice that the int8 engine multiplies first; nil when
  /// the work so far was not its.
  package var sliceWidth: Int? { rows.cascade?.sliceWidth }

  /// Whether the int8 engine turns vectors and rows onto axes of their own; nil
  /// when the work so far was not its.
  package var isBalanced: Bool? { rows.cascade?.isBalanced }
}

/// Memory of each thread for one call: a tile of widened vectors and what the
/// backend needs; a worker's part is used by that worker alone.
@safe internal final class Scratch: Sendable {
  private let memory: LargeMemory
  private let vectorByteCount: Int
  private let stride: Int

  init(count: Int, vectorByteCount: Int, byteCount: Int) {
    self.vectorByteCount = (vectorByteCount + 63) / 64 * 64
    stride = (self.vectorByteCount + byteCount + 4095) / 4096 * 4096
    memory = LargeMemory(byteCount: stride * count)
  }

  func vectors(of worker: Int) -> UnsafeMutablePointer<Float> {
    unsafe (memory.start + worker * stride).assumingMemoryBound(to: Float.self)
  }

  func memory(of worker: Int) -> UnsafeMutableRawPointer { unsafe memory.start + worker * stride + vectorByteCount }
}
