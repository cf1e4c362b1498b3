// The rows that vectors are compared with, laid out for the kernels, and the
// call of a kernel on one tile of vectors.

internal import Base
internal import CKernels
internal import CRows
internal import Features
internal import Synchronization

/// The winners of some vectors, in their order.
package struct Winners: Sendable, Equatable {
  /// The row with the greatest score, the lowest of equal ones.
  package var rows: [UInt32]
  /// Its score.
  package var scores: [Double]

  package init(rows: [UInt32] = [], scores: [Double] = []) {
    self.rows = rows
    self.scores = scores
  }
}

/// K float32 rows and their norms.
///
/// `@unchecked Sendable`: the memory is written in `init` alone and freed in
/// `deinit`.
@safe internal final class PreparedRows: @unchecked Sendable {
  let count: Int
  let dimension: Int
  private let values: UnsafePointer<Float>
  /// Frees `values` when they were widened here; else the matrix holds them.
  private let owned: UnsafeMutablePointer<Float>?
  private let matrix: FeatureMatrix
  private let norms: UnsafeMutablePointer<Double>
  /// `values`, `norms` and their sizes, as the kernels take them.
  let rows: UnsafeMutablePointer<ckernels_rows>
  private let prepared = Mutex(Preparation.notYet)
  private let rounded = Mutex<BFloat16Rows?>(nil)
  /// The first row with an element that is NaN or infinite.
  let firstBadRow: Int?

  /// Copies rows that are float32 already.
  convenience init(values: [Float], dimension: Int) {
    self.init(FeatureMatrix(values, dimension: dimension), rows: nil)
  }

  /// Takes rows of a matrix; aligned float32 rows are used where they lie.
  init(_ matrix: FeatureMatrix, rows: Range<Int>?) {
    let rows = rows ?? 0..<matrix.rowCount
    count = rows.count
    dimension = matrix.dimension
    self.matrix = matrix
    let start = unsafe matrix.address(ofRow: rows.lowerBound)
    if matrix.elementType == .float32, UInt(bitPattern: start) % 4 == 0 {
      unsafe values = start.assumingMemoryBound(to: Float.self)
      unsafe owned = nil
    } else {
      let copy = UnsafeMutablePointer<Float>.allocate(capacity: max(rows.count * matrix.dimension, 1))
      unsafe matrix.widen(rows: rows, to: copy)
      unsafe values = UnsafePointer(copy)
      unsafe owned = copy
    }
    unsafe norms = .allocate(capacity: max(rows.count, 1))
    var bad: Int?
    for row in 0..<rows.count {
      let start = unsafe values + row * matrix.dimension
      let square = unsafe crows_score(SimdLevel.current, start, start, matrix.dimension)
      // Squares of finite floats are below 2^256: only a bad element gets further.
      if !square.isFinite, bad == nil { bad = row }
      unsafe norms[row] = Self.norm(above: square)
    }
    firstBadRow = bad
    unsafe self.rows = .allocate(capacity: 1)
    unsafe self.rows.initialize(
      to: ckernels_rows(values: values, norms: norms, count: rows.count, dimension: matrix.dimension))
  }

  /// Widens listed rows of a matrix, which are finite.
  ///
  /// - Parameters:
  ///   - matrix: Holds the rows.
  ///   - numbers: Which of them.
  ///   - pool: The threads.
  init(_ matrix: FeatureMatrix, listed numbers: [UInt32], pool: WorkerPool) {
    let dimension = matrix.dimension
    (count, self.dimension, self.matrix) = (numbers.count, dimension, matrix)
    nonisolated(unsafe) let copy = UnsafeMutablePointer<Float>.allocate(capacity: max(numbers.count * dimension, 1))
    nonisolated(unsafe) let norms = UnsafeMutablePointer<Double>.allocate(capacity: max(numbers.count, 1))
    let batch = 4096
    pool.run((numbers.count + batch - 1) / batch) { task, _ in
      for row in (task * batch)..<min((task + 1) * batch, numbers.count) {
        let (start, number) = unsafe (copy + row * dimension, Int(numbers[row]))
        unsafe matrix.widen(rows: number..<(number + 1), to: start)
        unsafe norms[row] = Self.norm(above: crows_score(SimdLevel.current, start, start, dimension))
      }
    }
    unsafe (values, owned, self.norms) = (UnsafePointer(copy), copy, norms)
    firstBadRow = nil
    unsafe rows = .allocate(capacity: 1)
    unsafe rows.initialize(
      to: ckernels_rows(values: copy, norms: norms, count: numbers.count, dimension: dimension))
  }

  /// A row's norm or a little more: its score with itself is its squared norm to 1 part in 2^40.
  private static func norm(above square: Double) -> Double { square.squareRoot() * (1 + 0x1p-30) }

  deinit {
    unsafe rows.deallocate()
    unsafe owned?.deallocate()
    unsafe norms.deallocate()
  }

  private enum Preparation {
    case notYet
    /// The rows are out of the int8 engine's range; sgemm serves them.
    case unsuitable
    case ready(CascadeRows)
  }

  /// The rows as the int8 engine takes them; nil when it does not serve them.
  var cascade: CascadeRows? {
    prepared.withLock { if case .ready(let cascade) = $0 { cascade } else { nil } }
  }

  /// Prepares the rows for the int8 engine, once; later calls do nothing.
  ///
  /// - Parameters:
  ///   - sample: Finite vectors like those to come, row-major; they decide the
  ///     speed and not the results.
  ///   - pool: The threads; nil for the caller's alone.
  ///   - shape: What the first pass multiplies.
  ///   - form: Instructions that this CPU has.
  ///   - purpose: What is asked for.
  func prepareCascade(
    sample: [Float], pool: WorkerPool?, shape: SliceShape, form: CascadeForm,
    purpose: CascadePurpose = CascadePurpose()
  ) {
    prepared.withLock {
      guard case .notYet = $0 else { return }
      $0 =
        unsafe CascadeRows(rows, sample: sample, pool: pool, shape: shape, form: form, purpose: purpose)
        .map { .ready($0) }
        ?? .unsuitable
      // From now on the cascade serves: one copy of the rows is enough.
      if case .ready = $0 { rounded.withLock { $0 = nil } }
    }
  }

  /// The rows in bfloat16; the first call rounds them.
  ///
  /// - Parameter pool: The threads; nil for the caller's alone.
  /// - Returns: The rounded rows.
  func bfloat16(pool: WorkerPool?) -> BFloat16Rows {
    rounded.withLock {
      if let rounded = $0 { return rounded }
      let made = unsafe BFloat16Rows(rows, pool: pool)
      $0 = made
      return made
    }
  }

  /// Rows as one of the kernels takes them.
  enum Layout {
    case plain
    case bfloat16(BFloat16Rows)
    case cascade(CascadeRows)
  }

  /// Bytes of scratch for tiles of `vectorCount` vectors.
  func scratchByteCount(vectorCount: Int, layout: Layout) -> Int {
    switch layout {
    case .plain: ckernels_sgemm_scratch(vectorCount)
    case .bfloat16(let rows): unsafe ckernels_bf16_scratch(rows.pointer, vectorCount)
    case .cascade(let rows): unsafe ckernels_cascade_scratch(rows.pointer, vectorCount)
    }
  }

  /// Finds the winners of one tile of finite vectors.
  func best(
    of vectors: UnsafePointer<Float>, count vectorCount: Int, guesses: UnsafePointer<UInt32>?, level: Int32,
    backend: AssignmentBackend, layout: Layout, scratch: UnsafeMutableRawPointer, winners: UnsafeMutablePointer<UInt32>,
    scores: UnsafeMutablePointer<Double>, counts: inout ckernels_counts
  ) {
    switch (backend, layout) {
    case (.scalar, _): unsafe ckernels_best_plain(level, rows, vectors, vectorCount, winners, scores)
    case (_, .cascade(let cascade)):
      unsafe ckernels_best_cascade(
        level, cascade.pointer, vectors, vectorCount, guesses, scratch, winners, scores, &counts)
    case (_, .bfloat16(let rounded)):
      unsafe ckernels_best_bf16(level, rounded.pointer, vectors, vectorCount, scratch, winners, scores, &counts)
    case (_, .plain):
      unsafe ckernels_best_sgemm(level, rows, vectors, vectorCount, scratch, winners, scores, &counts)
    }
  }

  /// As above, for vectors in an array.
  func best(of vectors: [Float], level: Int32, backend: AssignmentBackend, layout: Layout = .plain) -> Winners {
    let vectorCount = vectors.count / dimension
    var counts = ckernels_counts()
    let scratch = UnsafeMutableRawPointer.allocate(
      byteCount: scratchByteCount(vectorCount: vectorCount, layout: layout), alignment: 64)
    defer { unsafe scratch.deallocate() }
    var winners = [UInt32](repeating: 0, count: vectorCount)
    var scores = [Double](repeating: 0, count: vectorCount)
    unsafe vectors.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return }
      unsafe best(
        of: start, count: vectorCount, guesses: nil, level: level, backend: backend, layout: layout,
        scratch: scratch, winners: &winners, scores: &scores, counts: &counts)
    }
    return Winners(rows: winners, scores: scores)
  }
}
