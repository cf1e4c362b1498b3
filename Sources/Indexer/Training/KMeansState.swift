// What paired k-means knows between two iterations, and what it reports.

package import Base
internal import Features

/// The state after some iterations; the next depends on nothing else.
package struct KMeansState: Sendable, Equatable {
  /// Iterations done, `0...`.
  package internal(set) var iteration: Int
  /// Row-major `[nlist × dimension]`, each row of unit length.
  package internal(set) var centroids: [Float]
  /// The cell of each distinct image in the last iteration, in ascending order
  /// of image; empty before the first.
  package internal(set) var cells: [UInt32]
  /// One entry for each iteration done.
  package internal(set) var history: [KMeansIteration]

  /// A state to go on from.
  package init(iteration: Int, centroids: [Float], cells: [UInt32], history: [KMeansIteration]) {
    (self.iteration, self.centroids, self.cells, self.history) = (iteration, centroids, cells, history)
  }
}

/// What one iteration did.
package struct KMeansIteration: Sendable, Equatable {
  /// Mean over captions of the score of q(p) and its centroid, before the
  /// centroids moved; `-1...1`, and greater is better.
  package let objective: Double
  /// Share of captions whose cell differs from the last iteration's, `0...1`;
  /// 1 in the first.
  package let movedShare: Double
  /// nlist·Σn² / (Σn)² over captions per cell, `1...nlist`; 1 is even.
  package let imbalance: Double
  /// Cells that no caption fell in; each was refilled.
  package let emptyCells: Int
  /// Captions in the most populous cell.
  package let largestCell: Int

  package init(objective: Double, movedShare: Double, imbalance: Double, emptyCells: Int, largestCell: Int) {
    self.objective = objective
    self.movedShare = movedShare
    self.imbalance = imbalance
    self.emptyCells = emptyCells
    self.largestCell = largestCell
  }
}

extension PairedKMeans {
  /// Saves a state durably.
  ///
  /// - Parameters:
  ///   - state: A state of this computation.
  ///   - path: The final name; a file of that name is replaced.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  @discardableResult
  package func save(_ state: KMeansState, as path: String) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnkmns", fingerprint: fingerprint)
    try writer.write([UInt64(state.iteration)])
    try writer.write(
      state.history.flatMap {
        [$0.objective, $0.movedShare, $0.imbalance, Double($0.emptyCells), Double($0.largestCell)]
      })
    try writer.write(state.cells)
    try writer.write(state.centroids)
    return try writer.finish(as: path)
  }

  /// Reads a saved state.
  ///
  /// - Parameter path: What ``save(_:as:)`` wrote.
  /// - Returns: The state; going on from it gives the bytes that an
  ///   uninterrupted run gives.
  /// - Throws: ``TarnError`` `.integrity` when the file is damaged or
  ///   belongs to another computation, `.inputsMissing` when there is none.
  package func load(_ path: String) throws -> KMeansState {
    var reader = try StateReader(path, magic: "tarnkmns", fingerprint: fingerprint)
    let counter = try reader.read(UInt64.self)
    let numbers = try reader.read(Double.self)
    let cells = try reader.read(UInt32.self)
    let centroids = try reader.read(Float.self)
    let iteration = numbers.count / 5
    let history = (0..<iteration).compactMap { i in
      KMeansIteration(numbers[(5 * i)..<(5 * i + 5)])
    }
    guard counter == [UInt64(iteration)], history.count == iteration, numbers.count == 5 * iteration,
      centroids.count == nlist * images.dimension, cells.count == (iteration == 0 ? 0 : distinctImages.count)
    else { throw StateReader.misfit(path) }
    return KMeansState(iteration: iteration, centroids: centroids, cells: cells, history: history)
  }
}

extension KMeansIteration {
  /// The five numbers that `save` writes; nil when a count is none.
  fileprivate init?(_ numbers: ArraySlice<Double>) {
    let first = numbers.startIndex
    guard let emptyCells = Int(exactly: numbers[first + 3]), let largestCell = Int(exactly: numbers[first + 4]) else {
      return nil
    }
    self.init(
      objective: numbers[first], movedShare: numbers[first + 1], imbalance: numbers[first + 2],
      emptyCells: emptyCells, largestCell: largestCell)
  }
}
