// Winners of a range of vectors, found by a process of their own: how they are
// computed, and the file they travel in. By the rule of ties they are what one pass
// over all vectors gives, however the vectors are cut.

package import Base
internal import CRows
package import Features
package import Logging

/// For each vector of a range its best rows, best first, and their scores.
package struct RowsFound: Sendable, Equatable {
  /// Rows found for each vector.
  package let k: Int
  /// `[count × k]`.
  package let rows: [UInt32]
  /// As many.
  package let scores: [Double]

  package init(k: Int, rows: [UInt32], scores: [Double]) {
    self.k = k
    self.rows = rows
    self.scores = scores
  }

  /// Rows that are prepared at a time where there are more.
  private static let blockRowCount = 65_536
  /// Vectors that are searched at a time where more than one row is asked for.
  private static let queryCount = 16_384

  /// Finds them.
  ///
  /// - Parameters:
  ///   - k: Rows for each vector: 1, or more.
  ///   - vectors: `[n × dimension]`.
  ///   - range: Which of them.
  ///   - matrix: The rows, `[m × dimension]`.
  ///   - logger: Gets a warning when a backend is dropped.
  ///   - checkpoint: Told the share that is done, `0...1`; may throw to stop.
  /// - Returns: What is found; of fewer rows than k, as many.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package static func find(
    _ k: Int, ofVectors vectors: FeatureMatrix, in range: Range<Int>, among matrix: FeatureMatrix, logger: Logger,
    checkpoint: (Double) throws -> Void
  ) throws -> RowsFound {
    guard k == 1 else { return try findSeveral(k, vectors, range, matrix, checkpoint) }
    var best = Winners(
      rows: [UInt32](repeating: 0, count: range.count), scores: [Double](repeating: -.infinity, count: range.count))
    for first in stride(from: 0, to: matrix.rowCount, by: blockRowCount) {
      let block = first..<min(first + blockRowCount, matrix.rowCount)
      try checkpoint(Double(first) / Double(matrix.rowCount))
      let engine = try AssignmentEngine(rows: matrix, in: block, logger: logger)
      let found = try engine.best(of: vectors, in: range)
      // Blocks ascend, so that equal scores keep the lowest row.
      for place in found.rows.indices where found.scores[place] > best.scores[place] {
        best.rows[place] = UInt32(first) + found.rows[place]
        best.scores[place] = found.scores[place]
      }
    }
    return RowsFound(k: 1, rows: best.rows, scores: best.scores)
  }

  private static func findSeveral(
    _ k: Int, _ vectors: FeatureMatrix, _ range: Range<Int>, _ matrix: FeatureMatrix,
    _ checkpoint: (Double) throws -> Void
  ) throws -> RowsFound {
    let k = min(k, matrix.rowCount)
    var (rows, scores): ([UInt32], [Double]) = ([], [])
    for first in stride(from: range.lowerBound, to: range.upperBound, by: queryCount) {
      try checkpoint(Double(first - range.lowerBound) / Double(range.count))
      let end = min(first + queryCount, range.upperBound)
      let block = FeatureMatrix(vectors.floats(rows: first..<end), dimension: vectors.dimension)
      var neighbors = try ExactNeighbors(queries: block, k: k)
      try neighbors.add(matrix)
      rows += neighbors.ids.map { UInt32($0) }
      scores += neighbors.scores
    }
    return RowsFound(k: k, rows: rows, scores: scores)
  }

  // MARK: Files

  private static let magic = "tarnrows"

  /// Bytes of a file.
  ///
  /// - Parameter count: Rows found, of all vectors together.
  /// - Returns: The size, or the greatest number where it is no number.
  package static func byteCount(of count: Int) -> Int {
    // Magic and fingerprint; three fields, the first of one number; the digest.
    (8 + 32 + 3 * 8 + 8 + 32).addingSaturated(
      count.multipliedSaturated(by: MemoryLayout<UInt32>.size + MemoryLayout<Double>.size))
  }

  /// Writes them, durably.
  ///
  /// - Parameters:
  ///   - task: Digest of the task that they answer.
  ///   - path: The final name.
  /// - Returns: The file's SHA-256.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func write(_ task: ContentDigest, to path: String) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: Self.magic, fingerprint: task)
    try writer.write([UInt64(k)])
    try writer.write(rows)
    try writer.write(scores)
    return try writer.finish(as: path)
  }

  /// Reads what somebody else wrote.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - task: Digest of the task that it must answer.
  ///   - count: Vectors that were asked about.
  ///   - k: Rows that were asked for.
  ///   - rowCount: Rows that there are.
  /// - Throws: ``TarnError`` `.integrity` for a file that is damaged, of another task or
  ///   of another size, or that names rows that are not there; `.inputsMissing`.
  package init(
    reading path: String, task: ContentDigest, count: Int, k: Int, rowCount: Int
  ) throws {
    var reader = try StateReader(path, magic: Self.magic, fingerprint: task)
    let width = try reader.read(UInt64.self)
    rows = try reader.read(UInt32.self)
    scores = try reader.read(Double.self)
    self.k = min(k, rowCount)
    guard width == [UInt64(self.k)], rows.count == count * self.k, scores.count == rows.count,
      rows.allSatisfy({ Int($0) < rowCount }), scores.allSatisfy(\.isFinite)
    else { throw TarnError(.integrity, "\(path) does not answer what its task asks") }
  }

  /// The first vector whose score is not that of the row found for it.
  ///
  /// - Parameters:
  ///   - places: Which vectors to look at, counted from the range's first.
  ///   - vectors: `[n × dimension]`.
  ///   - first: The range's first vector.
  ///   - matrix: The rows.
  /// - Returns: Its place; nil where all hold.
  package func firstLie(
    at places: [Int], ofVectors vectors: FeatureMatrix, from first: Int, among matrix: FeatureMatrix
  ) -> Int? {
    places.first { place in
      let vector = vectors.floats(rows: (first + place)..<(first + place + 1))
      return (0..<k).contains { number in
        let row = Int(rows[place * k + number])
        let other = matrix.floats(rows: row..<(row + 1))
        return unsafe crows_score(SimdLevel.current, vector, other, vector.count) != scores[place * k + number]
      }
    }
  }
}

extension FeatureMatrix {
  /// SHA-256 of the bytes of some rows.
  package func digest(ofRows rows: Range<Int>) -> ContentDigest {
    var hasher = Sha256()
    let step = max(1, (4 << 20) / rowByteCount)
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: step) {
      let count = min(step, rows.upperBound - first) * rowByteCount
      unsafe hasher.update(
        RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: address(ofRow: first), count: count)))
    }
    return hasher.finalize()
  }
}
