// Paired k-means (arXiv 2402.04416, Algorithm 1; DESIGN 4.2), with every choice
// that the paper leaves open made once and written down.

package import Base
internal import CRows
package import Features
package import Logging
internal import Synchronization

/// How coarse centroids are trained.
package enum TrainingMethod: String, Sendable, CaseIterable, Codable {
  /// Cells of images, centroids of captions.
  case paired = "paired-kmeans"
  /// Spherical k-means on the images: the control. Every image is its own
  /// nearest image and its own caption.
  case kmeans
}

/// The training of nlist coarse centroids.
///
/// Captions p in row order, q(p) the nearest image of p:
///
/// 1. *Start.* The distinct image rows q(p), ascending, are a list of m. For
///    i in 0..<nlist: j = i + draw(m - i), swap entries i and j; entry i is the
///    row of centroid i, normalised. draw(b) is the high 64 bits of
///    (next SplitMix64 output) · b; the generator starts at the seed.
/// 2. *Assign.* The cell of p is the centroid with the greatest score with
///    q(p), the lowest of equal ones.
/// 3. *Update.* Centroid c becomes the mean of the captions in cell c: a sum
///    in binary64, element by element, in row order, divided by their number;
///    then normalised. A mean of length 0 leaves the centroid as it was.
/// 4. *Refill.* For each empty cell e in ascending order: b is the most
///    populous cell, the lowest of equal ones. With t[j] = 1 + 2^-10 for even
///    j and 1 - 2^-10 for odd j, centroid e becomes centroid b times t and
///    centroid b becomes itself times 2 - t, both normalised; half of b's
///    number, rounded down, counts as e's from then on.
///
/// To normalise is to divide, in binary64, by the square root of the vector's
/// score with itself (lanes and tree as in the score), and to round to float32.
package struct PairedKMeans: Sendable {
  package let nlist: Int
  package let method: TrainingMethod
  /// The rows that q(p) takes, ascending.
  package let distinctImages: [UInt32]
  /// Captions; of the control, images.
  package var captionCount: Int { slots.count }
  internal let images: FeatureMatrix
  internal let fingerprint: ContentDigest
  private let captions: FeatureMatrix
  /// Per caption the position of q(p) in `distinctImages`.
  private let slots: [UInt32]
  private let seed: UInt64
  private let pool: WorkerPool
  private let backend: AssignmentBackend?
  private let logger: Logger

  /// Describes the training.
  ///
  /// - Parameters:
  ///   - images: `[n × dimension]`, rows of unit length.
  ///   - captions: `[m × dimension]`, rows of unit length; the images
  ///     themselves for the control.
  ///   - nearestImages: Per caption the row q(p) of its nearest image; nil for
  ///     the control.
  ///   - nlist: Centroids, `1...`.
  ///   - seed: Chooses the first centroids.
  ///   - inputs: Identifies the bytes of matrices and nearest images; a state
  ///     saved for other inputs is refused.
  ///   - pool: The threads; nil for the process's.
  ///   - backend: How to assign; nil for the process's choice.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Throws: ``TarnError`` `.unfit` when there are fewer distinct nearest
  ///   images than nlist, `.badFeatures` when the dimensions differ.
  package init(
    images: FeatureMatrix, captions: FeatureMatrix, nearestImages: [UInt32]?, nlist: Int, seed: UInt64,
    inputs: ContentDigest, pool: WorkerPool? = nil, backend: AssignmentBackend? = nil,
    logger: Logger = Logger(label: "tarn.engine")
  ) throws {
    guard images.dimension == captions.dimension else {
      throw TarnError(
        .badFeatures, "images have \(images.dimension) elements and captions \(captions.dimension)",
        hint: "a pair of sources comes from one model")
    }
    precondition((nearestImages?.count ?? images.rowCount) == captions.rowCount, "captions and nearest images differ")
    guard captions.rowCount < Int(UInt32.max), images.rowCount < Int(UInt32.max) else {
      throw TarnError(.unfit, "\(max(captions.rowCount, images.rowCount)) training rows are too many")
    }
    method = nearestImages == nil ? .kmeans : .paired
    if let nearestImages {
      (distinctImages, slots) = Self.distinct(nearestImages, imageCount: images.rowCount)
    } else {
      distinctImages = (0..<UInt32(images.rowCount)).map { $0 }
      slots = distinctImages
    }
    guard nlist >= 1, nlist <= distinctImages.count else {
      let what = nearestImages == nil ? "images" : "distinct nearest images"
      throw TarnError(
        .unfit, "nlist is \(nlist) and the training set has \(distinctImages.count) \(what)",
        hint: nlist < 1 ? "nlist is at least 1" : "lower --nlist or raise --pairs")
    }
    (self.images, self.captions, self.nlist, self.seed) = (images, captions, nlist, seed)
    (self.pool, self.backend, self.logger) = (try pool ?? .shared, backend, logger)
    fingerprint = .of(
      """
      kmeans-v1 \(method.rawValue) nlist \(nlist) seed \(seed)
      images \(images.rowCount) \(images.dimension) \(images.elementType)
      captions \(captions.rowCount) \(captions.elementType)
      inputs \(inputs)
      """)
  }

  private static func distinct(_ rows: [UInt32], imageCount: Int) -> ([UInt32], [UInt32]) {
    var rank = [UInt32](repeating: 0, count: imageCount)
    for row in rows { rank[Int(row)] = 1 }
    var list: [UInt32] = []
    for row in 0..<imageCount where rank[row] == 1 {
      rank[row] = UInt32(list.count)
      list.append(UInt32(row))
    }
    return (list, rows.map { rank[Int($0)] })
  }

  /// Checks the rows and draws the first centroids.
  ///
  /// - Returns: The state before the first iteration.
  /// - Throws: ``TarnError`` `.badFeatures` for a row that is not of unit
  ///   length to 1 part in 100, naming it.
  package func initialState() throws -> KMeansState {
    try requireUnitRows(images, "image")
    if method == .paired { try requireUnitRows(captions, "caption") }
    var random = SplitMix64(seed: seed)
    var list = distinctImages
    list.shuffleFirst(nlist, by: &random)
    let dimension = images.dimension
    var centroids = [Float](repeating: 0, count: nlist * dimension)
    for c in 0..<nlist {
      let row = images.floats(rows: Int(list[c])..<(Int(list[c]) + 1)).map { Double($0) }
      Self.normalise(row, into: &centroids, at: c * dimension)
    }
    return KMeansState(iteration: 0, centroids: centroids, cells: [], history: [])
  }

  private func requireUnitRows(_ matrix: FeatureMatrix, _ kind: String) throws {
    let batch = 4096
    let firstBad = Atomic<Int>(Int.max)
    pool.run((matrix.rowCount + batch - 1) / batch) { task, _ in
      for row in (task * batch)..<min((task + 1) * batch, matrix.rowCount)
      where !(abs(matrix.length(ofRow: row) - 1) <= Normalisation.tolerance) {
        firstBad.min(row, ordering: .relaxed)
        return
      }
    }
    let row = firstBad.load(ordering: .relaxed)
    guard row == Int.max else {
      throw TarnError(
        .badFeatures, "training \(kind) \(row) has length \(Float(matrix.length(ofRow: row))), not 1",
        hint: "normalise the features, or ask for it with --normalise")
    }
  }

  /// Carries out one iteration.
  ///
  /// - Parameters:
  ///   - state: The state after the iterations before; gets this one's.
  ///   - assign: Finds the centroid of each of ``distinctImages``, in their order, where
  ///     others do that; nil to do it here.
  /// - Returns: What the iteration did.
  /// - Throws: ``TarnError`` `.badFeatures`, `.engine`; what `assign` throws.
  @discardableResult
  package func step(
    _ state: inout KMeansState, assigning assign: ((_ centroids: [Float]) throws -> RowsFound)? = nil
  ) throws -> KMeansIteration {
    let winners =
      try assign.map { assign in
        let found = try assign(state.centroids)
        precondition(found.k == 1 && found.rows.count == distinctImages.count, "it is not of these images")
        return Winners(rows: found.rows, scores: found.scores)
      } ?? self.assign(to: state.centroids, guessing: state.cells)
    var total: Double = 0
    var moved = state.cells.isEmpty ? slots.count : 0
    var counts = [Int](repeating: 0, count: nlist)
    for slot in slots {
      let cell = winners.rows[Int(slot)]
      total += winners.scores[Int(slot)]
      counts[Int(cell)] += 1
      if !state.cells.isEmpty, state.cells[Int(slot)] != cell { moved += 1 }
    }
    let captionCount = Double(slots.count)
    let squares = counts.reduce(0.0) { $0 + Double($1) * Double($1) }
    let report = KMeansIteration(
      objective: total / captionCount, movedShare: Double(moved) / captionCount,
      imbalance: Double(nlist) * squares / (captionCount * captionCount),
      emptyCells: counts.count { $0 == 0 }, largestCell: counts.max() ?? 0)
    state.cells = winners.rows
    update(&state.centroids, cells: winners.rows)
    refill(&state.centroids, counts: counts)
    state.iteration += 1
    state.history.append(report)
    return report
  }

  /// Assigns each distinct image once, beginning with the cell that it was in: few
  /// images leave theirs.
  private func assign(to centroids: [Float], guessing cells: [UInt32]) throws -> Winners {
    let engine = try AssignmentEngine(
      rows: FeatureMatrix(centroids, dimension: images.dimension), backend: backend, pool: pool, logger: logger)
    let guesses = cells.isEmpty ? nil : cells
    return method == .kmeans
      ? try engine.best(of: images, guessing: guesses)
      : try engine.best(of: images, listed: distinctImages, guessing: guesses)
  }

  /// Sets the centroid of each cell that has captions to their mean.
  private func update(_ centroids: inout [Float], cells: [UInt32]) {
    let members = GroupedNumbers(by: slots.lazy.map { cells[Int($0)] }, keyCount: nlist)
    let dimension = images.dimension
    let cellsPerTask = max(1, nlist / (16 * pool.threadCount))
    unsafe centroids.withUnsafeMutableBufferPointer { buffer in
      // A cell is one task's alone, so tasks write disjoint rows and a sum
      // never depends on the number of threads.
      nonisolated(unsafe) let buffer = unsafe buffer
      pool.run((nlist + cellsPerTask - 1) / cellsPerTask) { task, _ in
        var sums = [Double](repeating: 0, count: dimension)
        for c in (task * cellsPerTask)..<min((task + 1) * cellsPerTask, nlist) where !members[c].isEmpty {
          for j in 0..<dimension { sums[j] = 0 }
          for caption in members[c] {
            unsafe crows_add_row(
              SimdLevel.current, captions.address(ofRow: Int(caption)), captions.elementType.code, dimension, &sums)
          }
          let count = Double(members[c].count)
          for j in 0..<dimension { sums[j] /= count }
          var row = unsafe UnsafeMutableBufferPointer(rebasing: buffer[(c * dimension)..<((c + 1) * dimension)])
          unsafe Self.normalise(sums, into: &row, at: 0)
        }
      }
    }
  }

  /// Gives each empty cell half of the most populous one.
  private func refill(_ centroids: inout [Float], counts: [Int]) {
    var cells = CellCounts(counts)
    let dimension = images.dimension
    for empty in 0..<nlist where counts[empty] == 0 {
      let big = cells.fullest
      // Captions are as many as distinct images at least, and those as nlist:
      // while a cell is empty, another has two.
      precondition(cells[big] >= 2, "no cell is left to split")
      let old = centroids[(big * dimension)..<((big + 1) * dimension)].map { Double($0) }
      let tilt = (0..<dimension).map { $0 % 2 == 0 ? 1 + 0x1p-10 : 1 - 0x1p-10 }
      Self.normalise(zip(old, tilt).map { $0 * $1 }, into: &centroids, at: empty * dimension)
      Self.normalise(zip(old, tilt).map { $0 * (2 - $1) }, into: &centroids, at: big * dimension)
      cells[empty] = cells[big] / 2
      cells[big] -= cells[empty]
    }
  }

  private static func normalise<Output: MutableCollection>(_ vector: [Double], into output: inout Output, at start: Int)
  where Output.Element == Float, Output.Index == Int {
    let length = unsafe crows_score64(vector, vector, vector.count).squareRoot()
    guard length > 0 else { return }
    for j in vector.indices { output[start + j] = Float(vector[j] / length) }
  }
}
