// Seeded randomness for the tests: the same cases on every machine.

internal import Base

extension SplitMix64 {
  /// A float in `-1..<1` with 24 random bits.
  package mutating func unit() -> Float {
    Float(Int32(truncatingIfNeeded: next() >> 39) - (1 << 24)) * 0x1p-24
  }

  /// Roughly normal, mean 0 and variance 1: the sum of twelve uniform numbers.
  package mutating func normal() -> Float {
    (0..<12).reduce(Float(0)) { sum, _ in sum + unit() } * 0.5
  }

  /// Row-major rows of unit length.
  package mutating func unitRows(_ count: Int, dimension: Int) -> [Float] {
    var rows = [Float](repeating: 0, count: count * dimension)
    for i in 0..<count {
      var square: Double = 0
      for j in 0..<dimension {
        rows[i * dimension + j] = normal()
        square += Double(rows[i * dimension + j]) * Double(rows[i * dimension + j])
      }
      for j in 0..<dimension { rows[i * dimension + j] /= Float(square.squareRoot()) }
    }
    return rows
  }
}
