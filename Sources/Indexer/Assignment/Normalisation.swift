// What is done about the lengths of rows, in training, encoding, exact search
// and re-ranking alike.

internal import CRows
package import Features

/// What is done about rows that are not of unit length.
package enum Normalisation: String, Sendable, CaseIterable, Codable {
  /// They are an error: the default, because a wrong length most often means a
  /// wrong file.
  case refuse
  /// Every row is divided by its length in binary64 and kept as float32.
  case normalise

  /// How far from 1 a length may be; float16 rounding stays far below it.
  package static let tolerance = 1e-2
}

extension FeatureMatrix {
  /// Rows as they are scored and encoded, made so on this thread.
  ///
  /// - Parameters:
  ///   - rows: Rows of the matrix, in any order; with `.normalise`, of a length
  ///     that is a number and not 0.
  ///   - normalisation: What training did about lengths.
  /// - Returns: `[rows.count × dimension]`.
  package func scoredRows(_ rows: some Collection<Int>, _ normalisation: Normalisation) -> [Float] {
    var values = floats(ofRows: rows)
    guard normalisation == .normalise else { return values }
    unsafe values.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return }
      for index in 0..<rows.count {
        let row = unsafe start + index * dimension
        let length = unsafe crows_score(SimdLevel.current, row, row, dimension).squareRoot()
        for j in 0..<dimension { unsafe row[j] = unsafe Float(Double(row[j]) / length) }
      }
    }
    return values
  }

  /// Rows as float32, each divided by its length in binary64.
  ///
  /// - Parameters:
  ///   - rows: Rows of the matrix.
  ///   - bad: Rows of these that are copied as they are: a length of theirs is
  ///     no number or 0.
  ///   - pool: The threads.
  /// - Returns: `[rows.count × dimension]`.
  package func unitRows(_ rows: Range<Int>, except bad: Set<Int> = [], pool: WorkerPool) -> FeatureMatrix {
    let width = 256
    return unsafe FeatureMatrix(rowCount: rows.count, dimension: dimension) { output in
      // Strips write disjoint ranges.
      nonisolated(unsafe) let output = unsafe output
      pool.run((rows.count + width - 1) / width) { task, _ in
        let first = rows.lowerBound + task * width
        let strip = first..<min(first + width, rows.upperBound)
        let start = unsafe output + (strip.lowerBound - rows.lowerBound) * dimension
        unsafe widen(rows: strip, to: start)
        for (index, (row, length)) in zip(strip, lengths(ofRows: strip)).enumerated() where !bad.contains(row) {
          for j in (index * dimension)..<((index + 1) * dimension) {
            unsafe start[j] = unsafe Float(Double(start[j]) / length)
          }
        }
      }
    }
  }
}
