// Draws: the same for a seed, whoever asks for them.

import Base
import Testing

@Suite struct SplitMix64Tests {
  /// Trainings that are sealed rest on these draws.
  @Test func aShuffleDrawsOneNumberForEachPlace() {
    for places in [0, 1, 10, 99, 100] {
      var random = SplitMix64(seed: 7)
      var same = SplitMix64(seed: 7)
      var drawn = Array(0..<100)
      drawn.shuffleFirst(places, by: &random)
      var expected = Array(0..<100)
      for place in 0..<places { expected.swapAt(place, place + same.next(below: 100 - place)) }
      #expect(drawn == expected)
      let (next, last) = (random.next(), same.next())
      #expect(next == last)
    }
    var random = SplitMix64(seed: 7)
    var none: [Int] = []
    none.shuffleFirst(-1, by: &random)
    #expect(none.isEmpty)
  }
}
