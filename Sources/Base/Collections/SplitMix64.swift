// The one source of randomness: a seed gives the same draws on
// every machine and in every language that has 64-bit integers.

/// SplitMix64 (Steele, Lea, Flood 2014).
///
/// State `s` starts at the seed. Each draw adds `0x9E3779B97F4A7C15` to `s`
/// and returns `mix(s)`, a bijection of 64-bit numbers.
package struct SplitMix64: RandomNumberGenerator, Sendable {
  package static let increment: UInt64 = 0x9E37_79B9_7F4A_7C15
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= Self.increment
    return Self.mix(state)
  }

  /// A number in `0..<bound`: the high 64 bits of the draw times `bound`.
  package mutating func next(below bound: Int) -> Int {
    precondition(bound > 0, "nothing to draw from")
    return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// A number of each of `count` equal stretches of `0..<total`, ascending; `count` is `total` at most.
  package mutating func oneOfEach(_ count: Int, of total: Int) -> [Int] {
    (0..<count).map { index in
      let (first, end) = (index * total / count, (index + 1) * total / count)
      return first + next(below: end - first)
    }
  }

  @inlinable package static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension Array {
  /// Draws the elements of the first places: each of those that are left is as likely (Fisher and Yates).
  ///
  /// - Parameters:
  ///   - count: Places, up to as many as there are elements; none where it is negative.
  ///   - random: Gives one number for each.
  package mutating func shuffleFirst(_ count: Int, by random: inout SplitMix64) {
    for place in 0..<Swift.max(count, 0) { swapAt(place, place + random.next(below: self.count - place)) }
  }
}
