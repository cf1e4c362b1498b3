// Seeded randomness for the tests: the same cases on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and a pure function of
/// its seed.
package struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

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
