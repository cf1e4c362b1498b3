// What the int8 engine chooses its form by: vectors like those that are to come.

internal import CRows
internal import Features

extension FeatureMatrix {
  /// Finite vectors from all over some rows.
  ///
  /// - Parameter rows: The rows that will be asked about.
  /// - Returns: About 8,192 of them or all, row-major; fewer where some are not finite.
  internal func sample(ofRows rows: some RandomAccessCollection<Int>) -> [Float] {
    let places = stride(from: 0, to: rows.count, by: max(1, rows.count / 8192))
    let taken = places.map { rows[rows.index(rows.startIndex, offsetBy: $0)] }
    let sample = floats(ofRows: taken)
    let bad = unsafe sample.withUnsafeBufferPointer { buffer in
      unsafe buffer.baseAddress.map { unsafe crows_find_nonfinite_row(SimdLevel.current, $0, dimension, taken.count) }
    }
    guard let bad, bad < taken.count else { return sample }
    // Such vectors are refused when it is their turn, or left out.
    return floats(ofRows: taken.filter { floats(rows: $0..<($0 + 1)).allSatisfy(\.isFinite) })
  }
}
